#include "orchestrator/agent/pauser.h"

#include "base/log.h"

namespace im::agent {
namespace {

// Of one core; what a server does that waits for work stays below.
constexpr uint32_t kCpuBelowPermilleDefault = 20;

IdleDetector::Policy PolicyOf(const proto::IdlePolicy& policy) {
  IdleDetector::Policy result;
  switch (policy.mode()) {
    case proto::IdlePolicy::NO_CONNECTIONS:
      result.mode = IdleDetector::Mode::kNoConnections;
      break;
    case proto::IdlePolicy::NEVER:
      result.mode = IdleDetector::Mode::kNever;
      break;
    default:
      result.mode = IdleDetector::Mode::kQuiet;
  }
  result.after = std::chrono::milliseconds(policy.after_ms());
  result.cpu_below_permille =
      policy.cpu_below_permille() > 0 ? policy.cpu_below_permille() : kCpuBelowPermilleDefault;
  return result;
}

}  // namespace

Pauser::Pauser(const proto::IdlePolicy& policy, const Clock& clock, Cgroup& cgroup,
               const Attachment& attachment, pid_t init, Delegate& delegate)
    : clock_(clock),
      cgroup_(cgroup),
      delegate_(delegate),
      probe_(cgroup, attachment, init, policy.busy_file(),
             policy.mode() == proto::IdlePolicy::NO_CONNECTIONS),
      detector_(PolicyOf(policy), *this) {}

void Pauser::OnProgramStarted(Instant now) {
  may_pause_ = true;
  detector_.OnAwake(now);
}

void Pauser::OnIdle() {
  if (const absl::Status status = Pause(); !status.ok())
    IM_LOG(kWarning, "pause: ", std::string(status.message()));
}

absl::Status Pauser::Pause() {
  if (paused_) return absl::OkStatus();
  if (!may_pause_) return absl::FailedPreconditionError("the program does not run");
  const absl::Status status = cgroup_.Freeze();
  if (!status.ok()) {
    cgroup_.Thaw().IgnoreError();    // some may have been frozen
    detector_.OnAwake(clock_.Now());  // not again at once
    return status;
  }
  paused_ = true;
  detector_.OnAsleep();
  delegate_.OnPausedOrThawed();
  return absl::OkStatus();
}

void Pauser::Thaw(const proto::WakeCause& cause) {
  if (!paused_) return;
  const Instant before = clock_.Now();
  if (const absl::Status status = cgroup_.Thaw(); !status.ok())
    IM_LOG(kError, "thaw: ", std::string(status.message()));
  const Instant after = clock_.Now();
  paused_ = false;
  cause_ = cause;
  ++thaws_;
  last_thaw_ = after - before;
  detector_.OnAwake(after);
  delegate_.OnPausedOrThawed();
}

void Pauser::Stop(const proto::WakeCause& cause) {
  may_pause_ = false;
  Thaw(cause);
  detector_.OnAsleep();
}

void Pauser::Describe(Instant now, proto::InstanceStatus& status) const {
  status.set_state(paused_ ? proto::InstanceStatus::PAUSED : proto::InstanceStatus::RUNNING);
  *status.mutable_wake_cause() = cause_;
  status.set_thaws(thaws_);
  status.set_thaw_ns(static_cast<uint64_t>(last_thaw_.count()));
  if (paused_ || !may_pause_) return;
  status.set_busy(detector_.Busy(now));
  status.set_idle_for_ms(std::chrono::duration_cast<std::chrono::milliseconds>(
                             detector_.IdleFor(now)).count());
  if (const auto in = detector_.PauseIn(now))
    status.set_pause_in_ms(
        std::chrono::duration_cast<std::chrono::milliseconds>(*in).count());
}

}  // namespace im::agent
