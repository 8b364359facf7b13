// IdleDetector: decides when a host is idle, from evidence and the time.
//
// A host is idle when all of these hold at once:
//   - no use (traffic.h) in or out for policy.after, nor a start or thaw;
//   - no exec session, and no packet held for a program that starts;
//   - no task runs, is ready to run, or waits for a disk;
//   - less CPU time than policy.cpu_below_permille since the last look;
//   - busy_file is not there;
//   - with NO_CONNECTIONS, no TCP connection is established.
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
    // All is quiet. The detector stays silent until OnAwake.
    virtual void OnIdle() = 0;
  };

  // `delegate` must outlive the detector.
  IdleDetector(const Policy& policy, Delegate& delegate) : policy_(policy), delegate_(delegate) {}

  // The program was started or thawed: all begins anew.
  void OnAwake(Instant now);
  // The program is frozen or gone.
  void OnAsleep() { awake_ = false; }

  void OnUse(Instant now) { quiet_since_ = now, last_use_ = now; }
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
