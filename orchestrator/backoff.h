// Backoff: how long a host that failed is left in peace.

#ifndef IM_ORCHESTRATOR_BACKOFF_H_
#define IM_ORCHESTRATOR_BACKOFF_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "base/clock.h"

namespace im::orchestrator {

// The first failure costs nothing: whoever is killed by accident is back at
// the next packet. The n-th in a row costs first * 2^(n-2), at most `max`.
class Backoff {
 public:
  struct Limits {
    Duration first = std::chrono::milliseconds(500);
    Duration max = std::chrono::seconds(60);
    // Failures are forgotten when none was added for so long after the
    // back-off's end.
    Duration forget_after = std::chrono::minutes(5);
  };

  void Fail(const Limits& limits, absl::string_view error, Instant now);
  void Reset() { *this = Backoff(); }
  // A user asks to try now; the failures are remembered.
  void EndWait(Instant now) {
    if (retry_at_ > now) retry_at_ = now;
  }

  uint32_t failures() const { return failures_; }
  bool waiting(Instant now) const { return failures_ > 0 && retry_at_ > now; }
  Instant retry_at() const { return retry_at_; }    // meaningful if failures() > 0
  Instant forget_at() const { return forget_at_; }  // likewise
  // "backing off 3.2s after 4 failures: exec nginxx: No such file or directory"
  std::string Reason(Instant now) const;

 private:
  uint32_t failures_ = 0;
  Instant retry_at_;
  Instant forget_at_;
  std::string error_;
};

// "30s", "3.2s", "10m", "512ms": for people.
std::string DurationText(Duration duration);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_BACKOFF_H_
