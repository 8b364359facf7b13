// HostTimers: the program's own timers, and what they mean to its pause.
//
//   awake    the host's tasks are looked at every now and then, so that it is
//            known when a wait began (timer_watch.h): every kLookSpanMax, less
//            often where a look is costly (kCostShare), and without a walk if no
//            CPU time was used since the last
//   pause    the last look tells whether a timer is too near, and when to wake
//   paused   in time the caller thaws the host (and for signals of timers that
//            cannot be foreseen, alarm_watch.h, soon after); what it has done until it
//            is paused again tells whether the timer was worth it
//
// The kernel's timers go on while a program is frozen. So a program that is
// thawed in time is on time, and one that is thawed late is served at once.

#ifndef IM_ORCHESTRATOR_AGENT_HOST_TIMERS_H_
#define IM_ORCHESTRATOR_AGENT_HOST_TIMERS_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "orchestrator/agent/alarm_watch.h"
#include "orchestrator/agent/cgroup.h"
#include "orchestrator/agent/frozen_rests.h"
#include "orchestrator/agent/idle_detector.h"
#include "orchestrator/agent/timer_watch.h"
#include "proto/agent.pb.h"

namespace im::agent {

class HostTimers {
 public:
  static constexpr Duration kLookSpanMin = std::chrono::milliseconds(10);
  static constexpr Duration kLookSpanMax = std::chrono::seconds(1);
  // Looks take at most this share of one core.
  static constexpr int kCostShare = 200;
  // A host that used more CPU time than this after it was woken has worked. To
  // be thawed costs its tasks some 20 us each.
  static constexpr Duration kWorkMin = std::chrono::milliseconds(5);

  // `cgroup` must outlive it.
  HostTimers(const proto::IdlePolicy& policy, const Cgroup& cgroup);

  // The program was started or thawed. `used`: not just for a moment.
  void OnAwake(Instant now, bool used);
  // When to call LookIfDue.
  Instant next_look() const { return next_look_; }
  void LookIfDue(Instant now, const IdleDetector& detector);

  // Looks at all. What is too near for a pause, in words; empty: nothing.
  std::string LookBeforePause(Instant now, const IdleDetector& detector);
  // After such a look: frozen now. `asked`: by a person, which only timers longer
  // than a tick undo.
  void OnPaused(Instant now, bool asked);
  // While paused: when to call WakeIfDue; kNever: no need.
  Instant next_wake() const { return std::min(wake_at_, alarms_.next_look()); }
  // Whose timer the host is to be woken for now, if it is.
  std::optional<std::string> WakeIfDue(Instant now);
  // Precondition: paused. The thaw follows, whatever for.
  void BeforeThaw(Instant now) { ShortenRests(rests_, now - paused_at_); }

  Instant paused_at() const { return paused_at_; }

  void Describe(Instant now, proto::InstanceStatus& status) const;

 private:
  bool watching() const { return mode_ != TimerWatch::Mode::kIgnore; }
  // The name of a task that ran meanwhile; empty: all waited.
  std::string Look(Instant now, bool used, bool with_fds);
  bool Worked(const IdleDetector& detector) const;

  const TimerWatch::Mode mode_;
  const Duration tick_max_;
  const Duration span_;
  const Cgroup& cgroup_;
  TimerWatch watch_;
  AlarmWatch alarms_;
  Instant looked_at_;
  Instant next_look_ = kNever;
  Duration cpu_at_look_{-1};
  std::vector<FrozenRest> rests_;  // of the last look
  Instant paused_at_;
  Instant wake_at_ = kNever;
  std::optional<TimerWatch::Timer> timer_;  // while paused: what it is woken for

  // The last wake, until it was judged.
  std::optional<Instant> woken_at_;
  Duration cpu_at_wake_{0};
  uint64_t deeds_at_wake_ = 0;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_HOST_TIMERS_H_
