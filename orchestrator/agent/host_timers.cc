#include "orchestrator/agent/host_timers.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "orchestrator/agent/timer_probe.h"

namespace im::agent {
namespace {

// Heartbeats of servers are rarely slower.
constexpr Duration kTickMaxDefault = std::chrono::seconds(10);

TimerWatch::Mode ModeOf(const proto::IdlePolicy& policy) {
  // Of a host that is paused by hand alone nobody keeps watch.
  if (policy.timers() == proto::IdlePolicy::TIMERS_IGNORE ||
      policy.mode() == proto::IdlePolicy::NEVER)
    return TimerWatch::Mode::kIgnore;
  return policy.timers() == proto::IdlePolicy::TIMERS_HONOR ? TimerWatch::Mode::kHonor
                                                            : TimerWatch::Mode::kAuto;
}

Duration TickMaxOf(const proto::IdlePolicy& policy) {
  if (policy.has_tick_max_ms()) return std::chrono::milliseconds(policy.tick_max_ms());
  // What came back within the quiet time came back while it was watched.
  return std::max<Duration>(kTickMaxDefault, std::chrono::milliseconds(policy.after_ms()));
}

uint64_t Milliseconds(Duration d) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
}

}  // namespace

HostTimers::HostTimers(const proto::IdlePolicy& policy, const Cgroup& cgroup)
    : mode_(ModeOf(policy)),
      tick_max_(TickMaxOf(policy)),
      span_(std::clamp<Duration>(std::chrono::milliseconds(policy.after_ms()) / 4, kLookSpanMin,
                                 kLookSpanMax)),
      cgroup_(cgroup),
      watch_({.mode = mode_,
              .tick_max = tick_max_,
              .horizon = std::chrono::milliseconds(policy.timer_horizon_ms())}),
      alarms_({.tick_max = tick_max_, .all = mode_ == TimerWatch::Mode::kHonor}) {}

void HostTimers::OnAwake(Instant now, bool used) {
  wake_at_ = kNever;
  timer_.reset();
  alarms_.OnThawed(used);
  if (!watching()) return;
  watch_.OnAwake(now, used);
  looked_at_ = now;
  cpu_at_look_ = Duration(-1);
  next_look_ = now + span_;
}

void HostTimers::LookIfDue(Instant now, const IdleDetector& detector) {
  if (now < next_look_) return;
  const Duration cpu = cgroup_.CpuTime();
  if (cgroup_.freezer() == Cgroup::Freezer::kVersion2 && cpu == cpu_at_look_) {
    watch_.OnNothing(now);
    next_look_ = now + span_;
    return;
  }
  const bool used = detector.UsedSince(looked_at_);
  const Instant before = RealClock().Now();
  Look(now, used, /*with_fds=*/false);
  next_look_ = now + std::max(span_, kCostShare * (RealClock().Now() - before));
}

std::string HostTimers::Look(Instant now, bool used, bool with_fds) {
  cpu_at_look_ = cgroup_.CpuTime();
  TimerLook look = LookAtTimers(cgroup_.Processes(), with_fds);
  watch_.OnLook(now, used, with_fds, look.seen);
  rests_ = std::move(look.rests);
  looked_at_ = now;
  return std::move(look.running);
}

bool HostTimers::Worked(const IdleDetector& detector) const {
  return detector.UsedSince(*woken_at_) || cgroup_.CpuTime() - cpu_at_wake_ > kWorkMin ||
         CountDeeds(cgroup_.Processes()) != deeds_at_wake_;
}

std::string HostTimers::LookBeforePause(Instant now, const IdleDetector& detector) {
  if (!watching()) return "";
  const std::string running = Look(now, detector.UsedSince(looked_at_), /*with_fds=*/true);
  // It slept when tasks were counted, a moment ago. What it will wait for is not known.
  if (!running.empty()) return absl::StrCat("running: ", running);
  if (woken_at_) {
    const bool worked = Worked(detector);
    watch_.OnJudged(worked);
    alarms_.OnJudged(worked);
  }
  const std::optional<TimerWatch::Timer> near = watch_.Near(now);
  if (!near) return "";
  return absl::StrFormat("timer of %s in %.1fs", near->name, Seconds(near->at - now));
}

void HostTimers::OnPaused(Instant now, bool asked) {
  const RealClock clock;
  AwaitInterruption(rests_, clock);
  paused_at_ = clock.Now();
  next_look_ = kNever;
  woken_at_.reset();
  if (!watching()) return;
  alarms_.OnPaused(now, FindSuspects(cgroup_.Processes()));
  timer_ = watch_.Next(now, asked ? tick_max_ : Duration(0));
  wake_at_ = timer_ ? std::max(timer_->at - TimerWatch::kLead, now) : kNever;
}

std::optional<std::string> HostTimers::WakeIfDue(Instant now) {
  std::optional<std::string> name;
  if (now >= wake_at_) {
    name = timer_->name;
    watch_.OnWake(now);
  } else if (now >= alarms_.next_look()) {
    name = alarms_.OnLook(now, PendingSignals(alarms_.suspects()));
  }
  if (!name) return std::nullopt;
  woken_at_ = now;
  cpu_at_wake_ = cgroup_.CpuTime();
  deeds_at_wake_ = CountDeeds(cgroup_.Processes());
  return name;
}

void HostTimers::Describe(Instant now, proto::InstanceStatus& status) const {
  const std::optional<TimerWatch::Timer> next =
      wake_at_ != kNever ? timer_ : watching() ? watch_.Next(now) : std::nullopt;
  if (!next) return;
  status.set_timer_in_ms(std::max<uint64_t>(1, Milliseconds(std::max(next->at - now, Duration(0)))));
  status.set_timer_of(next->name);
}

}  // namespace im::agent
