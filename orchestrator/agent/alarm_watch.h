// AlarmWatch: timers that end in a signal: setitimer(2), alarm(2),
// timer_create(2).
//
// When they will expire nobody can tell from outside. But they go on while the
// host is paused, and what they send then waits as a pending signal, which
// /proc/PID/status shows. So a paused host with a process that may have such a
// timer (/proc/PID/timers lists one, or it handles SIGALRM) is looked at: first
// after kLookMin, later after a sixteenth of the time that it has been paused
// so far, at least every kLookMax. Such a timer is late by that much. What was
// pending before the pause does not count.
//
// An alarm no later than Policy::tick_max after the pause that comes kAlarmsMin
// times in a row is a tick; so is, unless Policy::all, one that led to nothing
// as often. Then nobody looks any more until the host is used.

#ifndef IM_ORCHESTRATOR_AGENT_ALARM_WATCH_H_
#define IM_ORCHESTRATOR_AGENT_ALARM_WATCH_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/clock.h"

namespace im::agent {

// Signals of a process, from /proc/PID/status; bit N - 1 is signal N.
struct SignalState {
  std::string name;
  uint64_t pending = 0;  // of the process and its first thread
  uint64_t handled = 0;
};
std::optional<SignalState> ParseSignalState(absl::string_view status);
// Signals that timers of /proc/PID/timers send.
uint64_t ParseTimerSignals(absl::string_view timers);

class AlarmWatch {
 public:
  static constexpr Duration kLookMin = std::chrono::milliseconds(250);
  static constexpr Duration kLookMax = std::chrono::seconds(5);
  static constexpr int kPausedPerLook = 16;
  static constexpr uint32_t kAlarmsMin = 2;

  struct Policy {
    Duration tick_max{0};
    bool all = false;
  };
  explicit AlarmWatch(const Policy& policy) : policy_(policy) {}

  // A process that may have such a timer.
  struct Suspect {
    pid_t pid = 0;
    uint64_t signals = 0;  // that it may send
    uint64_t pending = 0;  // of these, already
    std::string name;
  };
  void OnPaused(Instant now, std::vector<Suspect> suspects);
  void OnThawed(bool used);
  // When to look at the suspects; kNever: not at all.
  Instant next_look() const { return next_look_; }
  const std::vector<Suspect>& suspects() const { return suspects_; }
  // `pending`: of each suspect, all of its signals. Whose alarm it was: wake.
  std::optional<std::string> OnLook(Instant now, const std::vector<uint64_t>& pending);
  // What the host did after it was woken.
  void OnJudged(bool worked);

 private:
  bool given_up() const { return ticks_ >= kAlarmsMin || fruitless_ >= kAlarmsMin; }

  const Policy policy_;
  std::vector<Suspect> suspects_;
  Instant paused_at_;
  Instant next_look_ = kNever;
  bool rang_ = false;  // the last wake was for an alarm
  uint32_t ticks_ = 0;
  uint32_t fruitless_ = 0;
};

// Of a host's processes.
std::vector<AlarmWatch::Suspect> FindSuspects(const std::vector<pid_t>& processes);
std::vector<uint64_t> PendingSignals(const std::vector<AlarmWatch::Suspect>& suspects);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_ALARM_WATCH_H_
