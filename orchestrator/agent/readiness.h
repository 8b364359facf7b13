// Readiness: whether a host with a healthcheck is up.
//
// The test is run from the program's start on, until it has succeeded once; then it
// is never run again. Callers wait meanwhile, so it is run soon and often: at once, then
// kFirstGap after its end, twice that, … kLastGap, or with the gap that start_interval
// says. How patient we are is another matter: a failure counts when start_period is over
// and `interval` has passed since the start, or since the last that counted, and
// `retries` of them end the start. So it ends when Compose would call it unhealthy.
//
//   not started → testing     the program was started
//   testing → waiting         the test failed, or took longer than `timeout` (killed)
//   waiting → testing         the gap has passed
//   testing → ready           it succeeded
//   testing → unhealthy       it failed, and that was the last time that counts
//   any → over                the host is being stopped
//
// No IO, no clock.

#ifndef IM_ORCHESTRATOR_AGENT_READINESS_H_
#define IM_ORCHESTRATOR_AGENT_READINESS_H_

#include <chrono>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "proto/agent.pb.h"

namespace im::agent {

class Readiness {
 public:
  static constexpr Duration kFirstGap = std::chrono::milliseconds(50);
  static constexpr Duration kLastGap = std::chrono::seconds(1);

  class Delegate {
   public:
    virtual ~Delegate() = default;
    // OnTestEnded follows, not from within.
    virtual void RunTest() = 0;
    virtual void KillTest() = 0;
    virtual void OnReady() = 0;
    virtual void OnUnhealthy(const std::string& why) = 0;
  };

  // nullptr: ready from the beginning. Both must outlive it.
  Readiness(const proto::Healthcheck* check, Delegate& delegate);

  bool ready() const { return state_ == State::kReady; }
  // How it stands, in words; empty if it is ready.
  std::string Reason() const;

  void OnProgramStarted(Instant now);
  // `failure`: empty: the test has succeeded.
  void OnTestEnded(absl::string_view failure, Instant now);
  // The program was restored: it was ready before.
  void OnRestored() { state_ = State::kReady; }
  // Nothing is tested any more.
  void Stop();

  Instant NextDeadline() const { return deadline_; }
  void OnTimer(Instant now);

 private:
  enum class State : uint8_t { kNotStarted, kTesting, kWaiting, kReady, kOver };
  void Test(Instant now);
  Duration NextGap();

  const proto::Healthcheck* const check_;
  Delegate& delegate_;
  State state_;
  bool killed_ = false;       // kTesting: it took too long
  Instant deadline_ = kNever;  // kTesting: it is killed; kWaiting: it is run
  Duration gap_ = kFirstGap;
  Instant counts_at_ = kNever;  // a failure from then on does
  uint32_t failures_ = 0;       // that counted
  std::string last_failure_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_READINESS_H_
