#include "orchestrator/backoff.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"

namespace im::orchestrator {

void Backoff::Fail(const Limits& limits, absl::string_view error, Instant now) {
  ++failures_;
  error_ = std::string(error);
  Duration wait{0};
  if (failures_ >= 2) {
    wait = std::min(limits.first, limits.max);
    for (uint32_t i = 2; i < failures_ && wait < limits.max; ++i)
      wait = wait > limits.max / 2 ? limits.max : wait * 2;
  }
  retry_at_ = now + wait;
  forget_at_ = retry_at_ + limits.forget_after;
}

std::string Backoff::Reason(Instant now) const {
  const Duration left = retry_at_ > now ? retry_at_ - now : Duration(0);
  return absl::StrCat("backing off ", DurationText(left), " after ", failures_,
                      failures_ == 1 ? " failure: " : " failures: ", error_);
}

std::string DurationText(Duration duration) {
  absl::Duration d = absl::FromChrono(duration);
  if (d >= absl::Seconds(60)) {
    d = absl::Trunc(d + absl::Milliseconds(500), absl::Seconds(1));
  } else if (d >= absl::Seconds(1)) {
    d = absl::Trunc(d + absl::Milliseconds(50), absl::Milliseconds(100));
  } else if (d >= absl::Milliseconds(10)) {
    d = absl::Trunc(d, absl::Milliseconds(1));
  } else if (d >= absl::Milliseconds(1)) {
    d = absl::Trunc(d, absl::Microseconds(100));
  } else {
    d = absl::Trunc(d, absl::Microseconds(1));
  }
  std::string text = absl::FormatDuration(d);
  // "10m0s" reads better as "10m", "2h0m0s" as "2h".
  for (const char* zero : {"m0s", "h0m"}) {
    const std::string suffix(zero);
    if (text.size() > suffix.size() &&
        text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0)
      text.resize(text.size() - 2);
  }
  return text;
}

}  // namespace im::orchestrator
