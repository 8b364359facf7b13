#include "orchestrator/agent/pauser.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "orchestrator/agent/kept_polls.h"

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

Pauser::Pauser(const proto::IdlePolicy& policy, const proto::Group* group, const Clock& clock, Cgroup& cgroup,
               const Attachment& attachment, pid_t init, Delegate& delegate)
    : clock_(clock),
      cgroup_(cgroup),
      delegate_(delegate),
      probe_(cgroup, attachment, init, policy.busy_file(),
             policy.mode() == proto::IdlePolicy::NO_CONNECTIONS),
      detector_(PolicyOf(policy), *this),
      timers_(policy, cgroup),
      reclaimer_(policy.reclaim(), cgroup),
      cpu_below_permille_(PolicyOf(policy).cpu_below_permille) {
  if (group != nullptr) group_.emplace(*group, clock.Now(), *this);
}

void Pauser::OnProgramStarted(Instant now) {
  may_pause_ = true;
  detector_.OnAwake(now);
  timers_.OnAwake(now, /*used=*/true);
}

void Pauser::OnIdle() {
  if (group_) {
    cpu_when_quiet_ = cgroup_.CpuTime();
    quiet_at_ = clock_.Now();
    return group_->OnQuiet();
  }
  if (const absl::Status status = PauseNow(/*asked=*/false); !status.ok())
    IM_LOG(kWarning, "pause: ", std::string(status.message()));
}

bool Pauser::BusyNow() {
  const IdleEvidence evidence = probe_.Look(Look::kAll);
  const Duration elapsed = std::max<Duration>(clock_.Now() - quiet_at_, Duration(1));
  const int64_t permille = (evidence.cpu - cpu_when_quiet_).count() * 1000 / elapsed.count();
  // A task that runs just now may be one that answers a beat.
  return evidence.busy_file || evidence.tasks_in_disk_wait > 0 ||
         (elapsed >= IdleDetector::kLookSpanMin && permille >= cpu_below_permille_);
}

bool Pauser::Freeze() {
  const absl::Status status = PauseNow(/*asked=*/true);
  if (!status.ok()) IM_LOG(kWarning, "pause: ", std::string(status.message()));
  return status.ok();
}

void Pauser::OnGroupUse() {
  const Instant now = clock_.Now();
  detector_.OnAwake(now);
  detector_.OnUse(now);
}

void Pauser::Loosen() {
  held_ = false;
  if (!wake_when_loose_) return;
  const proto::WakeCause cause = *std::exchange(wake_when_loose_, std::nullopt);
  Wake(cause);
}

absl::Status Pauser::PauseStopped() {
  const absl::Status status = PauseNow(/*asked=*/true);
  if (status.ok()) Hold();
  cgroup_.Continue();
  return status;
}

void Pauser::Wake(const proto::WakeCause& cause) {
  if (held_) {
    if (!wake_when_loose_) wake_when_loose_ = cause;
    return;
  }
  if (group_) {
    group_->Wake(cause, clock_.Now());
  } else {
    Thaw(cause);
  }
}

absl::Status Pauser::Pause() {
  if (!paused_ && may_pause_) timers_.LookBeforePause(clock_.Now(), detector_);
  return PauseNow(/*asked=*/true);
}

absl::Status Pauser::PauseNow(bool asked) {
  if (paused_) return absl::OkStatus();
  if (!may_pause_) return absl::FailedPreconditionError("the program does not run");
  const absl::Status status = cgroup_.Freeze();
  if (!status.ok()) {
    cgroup_.Thaw().IgnoreError();    // some may have been frozen
    detector_.OnAwake(clock_.Now());  // not again at once
    return status;
  }
  const Instant now = clock_.Now();
  timers_.OnPaused(now, asked);
  reclaimer_.OnPaused(now);
  paused_ = true;
  detector_.OnAsleep(now);
  if (group_) group_->OnPausedOrThawed(true, clock_.Now());
  delegate_.OnPausedOrThawed();
  return absl::OkStatus();
}

void Pauser::Thaw(const proto::WakeCause& cause, bool used, bool news) {
  if (!paused_ || held_) return;
  const Instant before = clock_.Now();
  timers_.BeforeThaw(before);
  if (std::exchange(copied_, false) && cgroup_.freezer() == Cgroup::Freezer::kVersion2)
    ContinuePollsOf(cgroup_.Processes(), before - timers_.paused_at());
  reclaimer_.OnThawed(used);
  if (const absl::Status status = cgroup_.Thaw(); !status.ok())
    IM_LOG(kError, "thaw: ", std::string(status.message()));
  const Instant after = clock_.Now();
  paused_ = false;
  cause_ = cause;
  ++thaws_;
  last_thaw_ = after - before;
  if (used) {
    detector_.OnAwake(after);
  } else {
    detector_.OnAwakeBriefly(after);
  }
  timers_.OnAwake(after, news);
  if (group_) group_->OnPausedOrThawed(false, after);
  delegate_.OnPausedOrThawed();
}

Instant Pauser::NextDeadline() const {
  if (!may_pause_ || held_) return kNever;
  const Instant next = paused_ ? std::min(timers_.next_wake(), reclaimer_.NextDeadline())
                               : std::min(detector_.NextDeadline(), timers_.next_look());
  return group_ ? std::min(next, group_->NextDeadline()) : next;
}

bool Pauser::OnTimer(Instant now) {
  if (!may_pause_ || held_) return false;
  if (group_) group_->OnTimer(now);
  if (paused_) {
    const std::optional<std::string> whose = timers_.WakeIfDue(now);
    if (!whose) return reclaimer_.OnTimer(now);
    proto::WakeCause cause;
    cause.set_kind(proto::WakeCause::TIMER);
    cause.set_detail(absl::StrCat("of ", *whose));
    ThawBriefly(cause);
    return false;
  }
  timers_.LookIfDue(now, detector_);
  detector_.OnTimer(now);
  return false;
}

void Pauser::Stop(const proto::WakeCause& cause) {
  may_pause_ = false;
  Thaw(cause);
  if (group_) group_->OnPausedOrThawed(false, clock_.Now());
  detector_.OnAsleep(clock_.Now());
}

void Pauser::Describe(Instant now, proto::InstanceStatus& status) const {
  status.set_state(paused_ ? proto::InstanceStatus::PAUSED : proto::InstanceStatus::RUNNING);
  *status.mutable_wake_cause() = cause_;
  status.set_thaws(thaws_);
  status.set_thaw_ns(static_cast<uint64_t>(last_thaw_.count()));
  timers_.Describe(now, status);
  status.set_reclaimed_bytes(reclaimer_.reclaimed_bytes());
  if (group_) group_->Describe(now, status);
  if (paused_) {
    // The turn that it was paused in may have begun before.
    const Duration slept = std::max(now - detector_.asleep_since(), Duration(0));
    status.set_paused_for_ms(
        std::chrono::duration_cast<std::chrono::milliseconds>(slept).count());
  }
  if (paused_ || !may_pause_) return;
  status.set_busy(detector_.Busy(now));
  status.set_idle_for_ms(std::chrono::duration_cast<std::chrono::milliseconds>(
                             detector_.IdleFor(now)).count());
  if (const auto in = detector_.PauseIn(now))
    status.set_pause_in_ms(
        std::chrono::duration_cast<std::chrono::milliseconds>(*in).count());
}

}  // namespace im::agent
