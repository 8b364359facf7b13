// IdleDetector: decides when a host is idle, from evidence and the time.
//
// A host is idle when all of these hold at once:
//   - no use (traffic.h) in or out for policy.after, nor a start or thaw;
//   - no exec session, and no packet held for a program that starts;
//   - no task runs, is ready to run, or waits for a disk;
//   - less CPU time than policy.cpu_below_permille since the last look;
//   - busy_file is not there;
//   - with NO_CONNECTIONS, no TCP connection is established;
//   - no timer of the program is about to expire (timer_watch.h).
// Open but quiet connections do not keep a host up otherwise.
//
// The first two are known without asking anybody: OnUse stores a time, nothing
// else, so it may be called for each batch. The others cost reads of /proc and
// are looked at only when the first two have nearly lasted long enough:
//
//   ──use──────────────────────────────┬────────────┬──▶ time
//                              first look (CPU)   deadline: second look.
//                                                 Quiet → OnIdle, else again
//                                                 after another span
//
// with the span a quarter of policy.after, at most kLookSpanMax.
//
// A host that was thawed for something that is no use, such as a timer or the end of a
// connection, need not be quiet for long again: it is looked at at once, and after
// kSettleSpan. One that is awake is not paused for so long after such a moment.

#ifndef IM_ORCHESTRATOR_AGENT_IDLE_DETECTOR_H_
#define IM_ORCHESTRATOR_AGENT_IDLE_DETECTOR_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/clock.h"

namespace im::agent {

struct IdleEvidence {
  Duration cpu{0};  // used so far by all processes of the host
  int tasks_running = 0;
  int tasks_in_disk_wait = 0;
  std::string task;  // the name of one of them
  bool busy_file = false;
  int connections = 0;  // established ones
};

class IdleDetector {
 public:
  static constexpr Duration kLookSpanMin = std::chrono::milliseconds(10);
  static constexpr Duration kLookSpanMax = std::chrono::seconds(1);
  static constexpr Duration kSettleSpan = std::chrono::milliseconds(100);

  enum class Mode { kQuiet, kNoConnections, kNever };
  struct Policy {
    Mode mode = Mode::kQuiet;
    Duration after{0};
    uint32_t cpu_below_permille = 20;  // of one core
  };

  class Delegate {
   public:
    virtual ~Delegate() = default;
    enum class Look { kCpu, kAll };
    virtual IdleEvidence LookAtProcesses(Look what) = 0;
    // A timer that is near, in words: "timer of sleep in 0.3s"; empty: none. Asked
    // for when nothing else keeps the host up.
    virtual std::string LookAtTimers() = 0;
    // All is quiet. The detector stays silent until OnAwake.
    virtual void OnIdle() = 0;
  };

  // `delegate` must outlive the detector.
  IdleDetector(const Policy& policy, Delegate& delegate) : policy_(policy), delegate_(delegate) {}

  // The program was started or thawed: all begins anew.
  void OnAwake(Instant now);
  // It was thawed, but not for use: it is as quiet as before.
  void OnAwakeBriefly(Instant now);
  // The program is frozen or gone.
  void OnAsleep(Instant now);
  // Since when it sleeps; what it was awake for a moment, and not for use, is in it.
  Instant asleep_since() const { return asleep_since_.value_or(Instant{}); }
  // It was to go to disk and could not: it sleeps anew.
  void SleepAnew(Instant now) { asleep_since_ = now; }

  void OnUse(Instant now) { quiet_since_ = now, last_use_ = now; }
  // Something for the program, which is no use of the host.
  void OnMoment(Instant now) { moment_ = now; }
  // Or there was such a moment.
  bool UsedSince(Instant then) const {
    return (last_use_ && *last_use_ >= then) || (moment_ && *moment_ >= then);
  }
  void SetExecSessions(int count, Instant now);
  void SetHeldPackets(int count, Instant now);

  // When to call OnTimer; kNever: not before something is told.
  Instant NextDeadline() const;
  void OnTimer(Instant now);

  // What keeps the host up, in words: "payload 0.3s ago", "cpu 12%",
  // "exec session". Empty if nothing is known to.
  std::string Busy(Instant now) const;
  Duration IdleFor(Instant now) const { return now - quiet_since_; }
  // Until the next time at which it may be found idle; nullopt: not counting.
  std::optional<Duration> PauseIn(Instant now) const;

 private:
  Duration Span() const;
  Instant Deadline() const { return quiet_since_ + policy_.after; }
  bool Counting() const;
  std::string BusyBy(const IdleEvidence& evidence, Instant now) const;

  const Policy policy_;
  Delegate& delegate_;
  bool awake_ = false;
  Instant awake_since_;
  Instant quiet_since_;
  std::optional<Instant> last_use_;
  std::optional<Instant> brief_since_;  // awake, but not for use
  std::optional<Instant> asleep_since_;
  std::optional<Instant> moment_;
  int exec_sessions_ = 0;
  int held_packets_ = 0;
  // The last look, if one was made in this time of quiet.
  std::optional<Instant> looked_at_;
  Duration cpu_at_look_{0};
  Instant next_look_;
  std::string busy_at_look_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_IDLE_DETECTOR_H_
