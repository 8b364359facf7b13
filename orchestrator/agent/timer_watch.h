// TimerWatch: which timers of a host are worth waking it for, and when.
//
// Programs sleep in calls that time out, and hold timerfds. Of each such source
// (a task, or a descriptor) it is told now and then what can be seen from
// outside, and from that it keeps
//
//   the deadline   as an interval. A point in time is exact. A length counts
//                  from the call's begin, which lies between the last look that
//                  saw the task elsewhere (its context switches had another
//                  count) and the first that saw it here. The earlier end is
//                  what the host is woken for, so that the program is never
//                  late; if that was too early, the host stays awake up to the
//                  later one. A call that goes on after a pause keeps what it had.
//   what it is     see below.
//
// Nearly every server has timers that lead to nothing: a loop that looks around
// ten times a second, heartbeats of a runtime. Who honours those never pauses,
// who ignores all of them loses the job that sleeps for an hour. So:
//
//   tick         no longer than Policy::tick_max, and its source came back
//                at least kReturnsMin times while the host was quiet (or it is
//                a timerfd with such a period). Ticks rest while the host does.
//   timer        all others. The host is woken for it, for as long as there is
//                something to do, and paused again. If it is nearer than
//                Policy::horizon a pause is not worth it.
//   fruitless    a timer for which the host was woken kFruitlessMin times in a
//                row since its last use, and did nothing that anybody could
//                notice (the caller judges: no payload, nothing written, no
//                process, hardly any CPU time): from then on as a tick. With
//                Mode::kHonor there are none.
//
// A process that has ended is succeeded by a new one of the same name and parent:
// a shell that calls sleep(1) again and again is one source.
//
// A source that is of one of these kinds is so for lengths up to twice what was
// seen, so that the same loop may still have a longer timer. Use of the host
// begins the count anew.
//
// Pure: looks and times in, a deadline out.

#ifndef IM_ORCHESTRATOR_AGENT_TIMER_WATCH_H_
#define IM_ORCHESTRATOR_AGENT_TIMER_WATCH_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "absl/container/btree_map.h"
#include "base/clock.h"
#include "orchestrator/agent/task_wait.h"

namespace im::agent {

// What was seen of one source.
struct TimerSeen {
  int32_t task = 0;
  int32_t fd = -1;  // of a timerfd; -1: the task's own call
  int32_t parent = 0;  // of the task's process
  std::string name;
  uint64_t switches = 0;  // of the task's context, voluntary ones; 0 for a timerfd
  TaskWait::Kind kind = TaskWait::Kind::kEndless;
  Duration length{0};     // as in TaskWait
  Duration period{0};     // of a timerfd that repeats
};

class TimerWatch {
 public:
  static constexpr uint64_t kReturnsMin = 2;
  static constexpr uint32_t kFruitlessMin = 2;
  // A deadline of a descriptor that moved by less is the same one.
  static constexpr Duration kSameDeadline = std::chrono::milliseconds(5);
  // A timer is due for a wake so long before: less than this and the thaw's own
  // time would show.
  static constexpr Duration kLead = std::chrono::milliseconds(2);
  // On a machine with other work a task is still asleep so long after its deadline. It is
  // near until then, or it would be paused, and never wake. Later what was read is wrong.
  static constexpr Duration kLateMax = std::chrono::seconds(1);

  enum class Mode { kAuto, kHonor, kIgnore };
  struct Policy {
    Mode mode = Mode::kAuto;
    Duration tick_max{0};
    Duration horizon{0};
  };

  explicit TimerWatch(const Policy& policy) : policy_(policy) {}

  // The program runs from now on: what is seen first began after that. `used`:
  // since there is use of it.
  void OnAwake(Instant now, bool used);
  // What can be seen now of all sources; without `with_fds`, of the tasks alone.
  // `used`: there was use of the host since the last look.
  void OnLook(Instant now, bool used, bool with_fds, std::span<const TimerSeen> seen);

  struct Timer {
    Instant at;  // the earliest that it may be due
    std::string name;
    Duration length{0};
  };
  // Nothing of the host has run since the last look.
  void OnNothing(Instant now) { looked_at_ = now; }
  // The first that is honoured, of those longer than `longer_than`; nullopt: none.
  std::optional<Timer> Next(Instant now, Duration longer_than = Duration(0)) const;
  // The same, if it is too near for a pause.
  std::optional<Timer> Near(Instant now) const;

  // The host is woken for its timers; and before it is paused again (after a
  // look): whether it did anything since.
  void OnWake(Instant now);
  void OnJudged(bool worked);

 private:
  struct Key {
    int32_t task;
    int32_t fd;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Source {
    int32_t parent = 0;
    std::string name;
    uint64_t switches = 0;
    bool pending = false;  // there is a deadline
    Instant earliest, latest;
    Duration length{0};    // at most
    Duration period{0};
    uint64_t returns = 0;  // in quiet
    Duration tick{0};      // the longest that was one
    uint32_t fruitless = 0;
    Duration fruitless_length{0};
    bool due = false;        // the host was woken for it
    Duration due_length{0};
    bool came_back = false;  // since then
    uint64_t look = 0;       // that saw it last
  };
  Source& Find(const TimerSeen& seen, bool* is_new);
  bool Same(const Source& source, const TimerSeen& seen, Instant now) const;
  void Begin(Source& source, const TimerSeen& seen, Instant now) const;
  bool Honoured(const Source& source) const;

  const Policy policy_;
  absl::btree_map<Key, Source> sources_;
  Instant looked_at_;
  bool thawed_ = true;  // since the last look
  uint64_t looks_ = 0;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_TIMER_WATCH_H_
