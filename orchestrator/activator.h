// Activator: decides when a host is started, and when it is released.
//
// Goals: a wake is never lost, never done twice, and always answered: a held
// packet is delivered or refused, with the reason, within start_timeout; who
// waits without a packet (`im wake`) may wait so long for the start to begin,
// and again for the host to come up. Wake beats suspend at every step.
//
// States: those of host.h. Beyond the state, a host that is not plainly
// Imaginary has an Activation here, which knows its instance, the wake that
// waits for it, its failures and its one deadline:
//   Imaginary, wake waits   the end of the back-off, what the host needs of others
//                           (activator_needs.cc), a free slot of
//                           Limits::starting_max, memory (Admission), or the
//                           wake's own bound
//   Imaginary after failure when the failures are forgotten
//   Starting                start_timeout: killed (asked first, if its program runs and
//                           is not ready), held packets refused
//   Paused                  release_after: released, unless a leader by
//                           wake_with is up, a member of its group is not due
//                           for release itself, or the program waits for a
//                           timer, which would be lost (on disk it is not, but a
//                           near one is waited for)
//   Running, Paused         max_lifetime: moved, renewed, or a job that has failed
//                           (activator_lifetime.cc)
//   Releasing               stop_timeout: asked without condition, then killed;
//                           again and again, ever slower
//   Checkpointed            a timer of its program: restored; the end of
//                           checkpoint_expires: forgotten; a wake that waits
//                           is as in Imaginary
//   Restoring               as Starting; who is back and waits for its fellows is not killed
//
// A program that ends by itself: its agent says so and waits, and we let the
// host be Releasing until it is gone, so that no packet is sent to nobody.
//
// Failures: a start that failed or timed out, and a program that ended by
// itself before Limits::stable_after. They close the host for a while
// (backoff.h). A packet that the back-off would outlast is refused at once, others wait;
// `im wake` does not wait for it.
//
// Packets wake a host only where they can be of use to a fresh instance: SYNs,
// datagrams, pings, data. What belongs to a connection that cannot exist any
// more (a keepalive, a FIN) is refused without waking; RSTs and ICMP errors
// are dropped. A checkpointed host knows its connections: all of TCP wakes it.
//
// The members of a group go to disk together, and come back together: a host may have to
// wait in Releasing or Restoring for its fellows (activator_group_disk.cc).
//
// A checkpoint is restored at most once (activator_checkpoint.cc). If that fails
// after it was begun, the host is Imaginary and what was in it is lost; if it was
// not begun, the host stays Checkpointed, closed for a while.
//
// Instances are told apart by their incarnation, a number never used twice.
// Events of another incarnation than the current one are counted and ignored.
//
// All calls on one thread. Delegate methods are called when the state is
// settled, in the order of the decisions, before the outermost call returns;
// they may call the Activator again, and what follows from that comes after
// what was decided before.

#ifndef IM_ORCHESTRATOR_ACTIVATOR_H_
#define IM_ORCHESTRATOR_ACTIVATOR_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/ip_header.h"
#include "base/packet.h"
#include "orchestrator/backoff.h"
#include "orchestrator/held_packets.h"
#include "orchestrator/host.h"
#include "orchestrator/host_table.h"

namespace im::orchestrator {

class Activator {
 public:
  // What an instance is to do; the newest one counts.
  enum class Goal : uint8_t {
    kRun,            // go on; thaw if paused; a release not yet begun is off
    kStay,           // of a group on its way to disk: called off, but frozen until kLoosen or kRun
    kLoosen,         // the same, and as it was before: paused, unless it is used
    kReleaseIfIdle,  // release, unless there was use since the pause; of such a group: be held
    kMove,           // to disk although in use, to come back at once
    kDump,           // copy its processes
    kCommit,         // the copy counts
    kRelease,        // release without asking
    kKill,           // destroy now; may be repeated
  };

  class Delegate {
   public:
    virtual ~Delegate() = default;
    // Start an instance; of a host that is Restoring, out of its checkpoint.
    // Exactly one OnInstanceEnded must follow some day.
    virtual void StartInstance(HostId host, uint64_t incarnation, const Cause& cause) = 0;
    // `cause.detail` says why: "idle for 10m0s", "start timed out after 30s".
    virtual void SetGoal(HostId host, uint64_t incarnation, Goal goal, const Cause& cause) = 0;
    // The host runs: its held packets, in order.
    virtual void Deliver(HostId host, PacketBatch packets) = 0;
    // Answer each packet with a RST or an ICMP error. With `wake_over` nothing
    // tries to start the host any more, and whoever waits for it gets
    // `reason`; `packets` may be empty then.
    virtual void Refuse(HostId host, PacketBatch packets, absl::string_view reason,
                        bool wake_over) = 0;
    // A host that becomes Imaginary has no checkpoint any more.
    virtual void OnTransition(const Transition& transition) = 0;
    // The host is wanted, but not started yet: what for.
    virtual void OnWait(HostId, absl::string_view) {}
  };

  // Whether the machine can bear a start now (memory_admission.h).
  class Admission {
   public:
    virtual ~Admission() = default;
    // nullopt: it can, and the start follows. Else why not. Must not call back.
    virtual std::optional<std::string> Start(HostId host, Instant now) = 0;
  };

  struct Limits {
    // Starts in flight at once; further wakes queue in order. Beyond it, more
    // at once make each of them slower.
    size_t starting_max = 32;
    Backoff::Limits backoff;
    // A program that ran so long was not a failed start.
    Duration stable_after = std::chrono::seconds(10);
    // Who was not admitted asks again then.
    Duration admission_retry = std::chrono::milliseconds(250);
    // A timer that is due sooner than this after a release is not worth the way to disk
    // and back.
    Duration timer_on_disk_min = std::chrono::seconds(10);
    // A move that was refused is tried again then.
    Duration move_retry = std::chrono::minutes(1);
    // Between kills of an instance that does not end: first, doubling up to.
    Duration kill_retry_first = std::chrono::seconds(1);
    Duration kill_retry_max = std::chrono::seconds(60);
    // Hosts that one which is not ready may call, and hear of; more it calls in vain.
    size_t called_max = 1024;
    HeldPackets::Limits held;
  };

  enum class Verdict : uint8_t {
    kForward,  // the host is up: send it there
    kHeld,     // kept (or a repeated SYN of one that is)
    kDropped,  // a limit was hit, or nothing that can be answered
    kRefused,  // was given to Delegate::Refuse
  };

  struct Counters {
    uint64_t held = 0;
    uint64_t duplicates = 0;      // repeated SYNs
    uint64_t over_limit = 0;      // a limit of HeldPackets
    uint64_t useless = 0;         // RSTs and the like to a host that is not up
    uint64_t delivered = 0;
    uint64_t refused = 0;
    uint64_t held_too_long = 0;   // of `refused`: by age
    uint64_t stale_events = 0;    // of another incarnation
    uint64_t starts = 0;          // restores included
    uint64_t restores = 0;
    uint64_t thaws = 0;           // by the agents themselves, as they report
  };

  // `table` and `delegate` must outlive it. `first_incarnation` must be above
  // all that were ever used.
  Activator(HostTable& table, const Limits& limits, uint64_t first_incarnation,
            Delegate& delegate);
  ~Activator();
  Activator(const Activator&) = delete;
  Activator& operator=(const Activator&) = delete;

  // nullptr, as at the beginning: all are admitted. Must outlive it.
  void SetAdmission(Admission* admission) { admission_ = admission; }

  // Starts the hosts that are to run always. Call once, after Adopt()s.
  void Begin(Instant now);

  // ---- wakes ----

  // A packet for `host` came to the gateway.
  Verdict OnPacket(HostId host, const Packet& packet, const IpView& view, Instant now);

  // `from` sent something to `to`. A host that runs and is not ready gets what comes from
  // those that it has called itself: their answers, and what members of an ensemble must
  // tell each other to become ready.
  void OnSent(const IpAddress& from, const IpAddress& to);

  // OK: the host is up (Running, or Paused and told to run), or will be, or
  // Delegate::Refuse with `wake_over` will follow (or came before this
  // returned). Else the refusal.
  absl::Status Wake(HostId host, const Cause& cause, Instant now);

  // ---- what happens to instances ----

  // An instance that was not started by this Activator, but is expected to
  // report: taken back after a restart of the orchestrator, or a guest's.
  // Preconditions: Imaginary; `incarnation` was used before (Adopt) or comes
  // from here (Expect). The host is Starting until the first status. `age`: since it
  // was started, which counts for max_lifetime. `renews`: as renews() said of it.
  void Adopt(HostId host, uint64_t incarnation, const Cause& cause, Instant now,
             Duration age = Duration(0), bool renews = false);
  // A checkpoint that an earlier orchestrator left, `age` ago. `timer_in`: as of
  // End, from now on. Preconditions: Imaginary, no guest.
  void AdoptCheckpoint(HostId host, Duration age, std::optional<Duration> timer_in, Instant now);
  uint64_t Expect(HostId host, const Cause& cause, Instant now);
  // Its program has ended with exit code 0 before, so that needs of that hold.
  void AdoptCompleted(HostId host) { completed_.insert(host); }
  // It is stopped for max_lifetime, and a fresh one is to be started at once.
  bool renews(HostId host) const;
  // Those without an instance that wait to be started by their restart policy or max_lifetime.
  // By number.
  std::vector<std::pair<HostId, Cause>> ToStart() const;
  // One of those of an earlier orchestrator. Preconditions: no guest; it has no instance.
  void AdoptStart(HostId host, const Cause& cause, Instant now);
  // Of those that somebody needs.
  const absl::btree_set<HostId>& completed() const { return completed_; }

  // The newest status of the instance, as authenticated by the tunnel. May be
  // repeated, and skip steps.
  struct Report {
    enum class State : uint8_t { kRunning, kPaused, kReleasing, kReleaseRefused };
    State state = State::kRunning;
    bool program_ended = false;  // kReleasing: nothing is left but a kernel that refuses
    // It was made with knowledge of the newest SetGoal.
    bool goal_acknowledged = false;
    Cause cause;          // of the last thaw
    bool suspended = false;  // kPaused: because it was told to
    Duration thaw{0};     // packet seen to thawed
    uint64_t thaws = 0;   // so far
    // kPaused, of a host that may be renewed: established ones.
    uint32_t connections = 0;
    // kPaused: in that time it thaws by itself, for a timer of its program.
    std::optional<Duration> timer_in;
    // kPaused: for so long already, but for moments that were no use.
    Duration paused_for{0};
    // Not empty: it was told to go to disk, and could not: why. It is as before.
    std::string not_checkpointed;
    // Of a member of a group that goes to disk, or comes back: it is frozen until told.
    enum class Disk : uint8_t { kNotHeld, kHeld, kDumping, kDumped };
    Disk disk = Disk::kNotHeld;
    bool waking = false;  // kPaused, and about to run
    // Not empty: it runs, and is not up yet: why. It stays Starting.
    std::string not_ready;
  };
  void OnInstanceStatus(HostId host, uint64_t incarnation, const Report& report, Instant now);

  struct End {
    enum class Kind : uint8_t {
      kReleased,  // as it was asked to
      kCheckpointed,  // the same, and its processes are on disk
      kExited,    // the program ended by itself, with exit code 0
      kFailed,    // anything else: never began, exit code, signal, lost
    };
    Kind kind = Kind::kFailed;
    std::string message;  // "exec nginxx: No such file or directory"
    // kCheckpointed, checkpoint_kept: in that time its program has a timer.
    std::optional<Duration> timer_in = std::nullopt;
    // A checkpoint of the host is on disk: it was started out of one that it has not
    // touched, or had just made it.
    bool checkpoint_kept = false;
    // Packets came while it was made, and are in it; or the host was in use.
    bool restore_at_once = false;
  };
  // Nothing of the instance is left.
  void OnInstanceEnded(HostId host, uint64_t incarnation, const End& end, Instant now);

  // ---- releases ----

  // Stops the host whatever it does (`im release`). OK if it is Imaginary or
  // will be; packets that come meanwhile start it anew.
  absl::Status Release(HostId host, absl::string_view reason, Instant now);
  // Releases all (kills, if `force`); refuses what is held and what comes. For
  // good; may be called again to force.
  void Shutdown(absl::string_view reason, bool force, Instant now);
  // The guest is gone for good; its row is freed. Preconditions: Imaginary,
  // and not called from within a Delegate method.
  void RemoveGuest(HostId host);

  // ---- time ----

  Instant NextDeadline() const;
  void OnTimer(Instant now);

  // ---- for `im ps` and `im why` ----

  struct Outlook {
    uint32_t failures = 0;                 // in a row
    std::optional<Instant> retry_at;       // the back-off's end, if it is still to come
    std::optional<Instant> release_at;     // Paused: when it will be released
    bool wake_waits = false;               // for a start slot, a back-off, or an end
    std::optional<HostId> kept_by;         // Paused, due for release, but this leader is up
    std::string memory_wait;               // not empty: what Admission said
    std::optional<Instant> timer_at;       // Paused, and not released before that
    std::optional<Instant> expires_at;     // Checkpointed: when it is forgotten
    std::optional<HostId> kept_by_fellow;  // the same, by a member of its group
    std::optional<HostId> awaits;  // on its way to disk or back: a member that is not as far
    std::string not_ready;                 // Starting: why it is not up yet
    std::string needs;                     // not empty: what it needs of another host
    std::optional<Instant> ends_at;        // Running, Paused: max_lifetime is over
    bool fails_then = false;               // at `ends_at`, instead of being replaced
  };
  Outlook outlook(HostId host, Instant now) const;
  const HeldPackets& held() const { return held_; }
  const Counters& counters() const { return counters_; }
  uint64_t next_incarnation() const { return next_incarnation_; }
  size_t starting() const { return starting_; }
  // Hosts that have an Activation; 0 when all is at rest.
  size_t active() const { return activations_.size(); }
  // True when no instance lives.
  bool all_ended() const;

 private:
  struct Activation;
  struct Effect;
  class Scope;

  Activation& Get(HostId host);
  bool stale(HostId host, uint64_t incarnation);
  void Drain();
  void Run(Effect& effect);

  // The wake that waits.
  // for_ever: retried until the host runs, not given up after start_timeout.
  void Want(HostId host, const Cause& cause, bool for_ever = false);
  void WantAgain(HostId host);
  void TryStart(HostId host);
  bool Admitted(HostId host);
  void GiveUp(HostId host, absl::string_view reason);
  void Dequeue(Activation& activation);
  absl::Status WakeOne(HostId host, const Cause& cause);
  void WakeFollowers(HostId leader, bool only_wake_with);
  void WakeMissingFollowers(HostId leader);
  void WakeFellows(HostId host, const Cause& cause);
  bool FromSleepingFellow(HostId host, const IpAddress& source) const;
  // What a host that ends says on a connection that it had to one that ended: a fresh
  // instance could only refuse it.
  bool AreLastWords(HostId host, const IpView& view) const;
  std::string WaitReason(HostId host) const;

  // activator_needs.cc
  bool Holds(const HostTable::Need& need) const;
  bool NeedsHold(HostId host);
  std::string NeedText(const HostTable::Need& need) const;
  std::string NeedReason(HostId host) const;
  void LookAgainAtWhoNeeds(HostId host);
  void FailWhoNeeds(HostId host, absl::string_view reason);

  // Steps of an instance.
  void AwaitInstance(HostId host, uint64_t incarnation, const Cause& cause);
  void BecomeUp(HostId host, const Cause& cause, absl::string_view reason, Duration duration,
                bool error = false);
  void BecomePaused(HostId host, const Report& report);
  void FollowOut(HostId host);
  void WantFromStart(HostId host);
  void BecomeCheckpointed(HostId host, Duration age, std::optional<Duration> timer_in,
                          absl::string_view reason, bool error);
  void OnRestoreFailed(HostId host, const End& end);
  void ForgetCheckpoint(HostId host, absl::string_view reason);
  void OnCheckpointDeadline(HostId host);
  Goal EndOfStart(HostId host);
  void BeginRelease(HostId host, Goal goal, absl::string_view reason, bool error);
  void SetGoal(HostId host, Goal goal, const Cause& cause);
  void LeaveStarting(Activation& activation);
  void OnDeadline(HostId host);
  void OnReleaseDeadline(HostId host);
  std::optional<HostId> LeaderUp(HostId host) const;
  std::optional<HostId> FellowUp(HostId host) const;
  void LookAgainAtFellows(HostId host);

  // activator_lifetime.cc
  void BeginLifetime(HostId host);
  Instant LifetimeDeadline(HostId host, const Activation& activation) const;
  void OnLifetimeOver(HostId host);
  bool StartRenewed(HostId host);
  bool FailsWhenOld(HostId host) const;
  std::string OverdueText(HostId host) const;

  // activator_group_disk.cc
  bool GoesToDiskTogether(HostId host) const;
  void TouchGroup(HostId host);
  void LookAtGroup(uint32_t group);
  bool OnDiskStep(HostId host, const Report& report);
  void OnRestoredAndHeld(HostId host);
  void CallOff(HostId host, absl::string_view reason);
  void GoOnTogether(const std::vector<HostId>& ready);
  std::optional<HostId> FellowAwaited(HostId host) const;
  bool FellowRestoring(HostId host) const;

  void Move(HostId host, HostState to, const Cause& cause, absl::string_view reason,
            bool error = false, Duration duration = Duration(0));
  void RefuseHeld(HostId host, absl::string_view reason, bool wake_over);
  // Sets the deadline anew; forgets the Activation if nothing is left of it.
  void Settle(HostId host);

  HostTable& table_;
  const Limits limits_;
  Delegate& delegate_;
  Admission* admission_ = nullptr;
  HeldPackets held_;
  Counters counters_;
  absl::flat_hash_map<HostId, std::unique_ptr<Activation>> activations_;
  absl::btree_set<std::pair<Instant, HostId>> deadlines_;
  absl::btree_map<uint64_t, HostId> start_queue_;  // by order of arrival
  absl::btree_set<HostId> completed_;
  uint64_t next_queue_place_ = 1;
  uint64_t next_incarnation_;
  size_t starting_ = 0;
  std::string shutdown_reason_;  // not empty: shut down
  std::vector<Effect> effects_;
  int depth_ = 0;
  Instant now_;  // of the call under way
};

absl::string_view GoalName(Activator::Goal goal);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_ACTIVATOR_H_
