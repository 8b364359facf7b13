// Pauser: freezes the host when it is idle, thaws it before it is needed.
//
// Running → Paused   the idle detector says so, or `im suspend`
// Paused → Running   a packet that shows use, an exec session, `im wake`, a
//                    stop. The packet is with the host's kernel by then, so
//                    that the program is woken once, and finds it. And shortly
//                    before a timer of the program expires (host_timers.h)
//
// What comes while it is paused is seen by the agent, which is never frozen. A
// thaw for a timer is no use: the host is paused again as soon as nothing runs.
// A member of a group does all this together with its fellows (group_pauser.h).

#ifndef IM_ORCHESTRATOR_AGENT_PAUSER_H_
#define IM_ORCHESTRATOR_AGENT_PAUSER_H_

#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "orchestrator/agent/attachment.h"
#include "orchestrator/agent/cgroup.h"
#include "orchestrator/agent/group_pauser.h"
#include "orchestrator/agent/host_timers.h"
#include "orchestrator/agent/idle_detector.h"
#include "orchestrator/agent/idle_probe.h"
#include "orchestrator/agent/reclaimer.h"
#include "proto/agent.pb.h"

namespace im::agent {

class Pauser final : public IdleDetector::Delegate, public GroupPauser::Delegate {
 public:
  class Delegate {
   public:
    virtual ~Delegate() = default;
    // paused() has changed.
    virtual void OnPausedOrThawed() = 0;
    // What Describe tells of the group has.
    virtual void OnGroupChange() = 0;
  };

  // All must outlive it. `group`: nullptr if it pauses by itself.
  Pauser(const proto::IdlePolicy& policy, const proto::Group* group, const Clock& clock, Cgroup& cgroup,
         const Attachment& attachment, pid_t init, Delegate& delegate);

  // The program runs (counts as a wake).
  void OnProgramStarted(Instant now);
  // Whether a packet with payload from (else to) `other`, which is about to be
  // delivered, is no more than the heartbeat of the host's group.
  bool IsHeartbeat(const IpAddress& other, bool inbound, size_t bytes, Instant now) {
    return group_ && group_->IsFellow(other) && !group_->OnFellow(other, inbound, bytes, now);
  }
  // False: Wake would do nothing. Cheap.
  bool may_be_woken() const { return paused_ || (group_ && group_->ready()); }
  // To run, and not to be paused before it is quiet again. With a group it may
  // have to wait for fellows; else it is thawed when this returns.
  void Wake(const proto::WakeCause& cause);
  // From now on, though woken, it is not thawed, until Loosen does what was asked
  // for meanwhile. Precondition: paused.
  void Hold() { held_ = true; }
  void Loosen();
  // CRIU has been at the processes: before they go on their waits are put in order.
  void OnCopied() { copied_ = true; }
  // Of a program that was restored, and is stopped (SIGSTOP): pauses it instead, so that
  // it has not run, and holds it. OnProgramStarted was called.
  absl::Status PauseStopped();
  // Never pauses again; thaws at once.
  void Stop(const proto::WakeCause& cause);

  // OK also if it is paused already. FailedPrecondition before the start.
  absl::Status Pause();
  void Thaw(const proto::WakeCause& cause) { Thaw(cause, /*used=*/true, /*news=*/true); }
  // For what is no use of the host: it is paused again when it has nothing to do. Held, it
  // is woken for it later. `news`: the program did not expect it, so that timers which it
  // begins now, to connect again perhaps, are no ticks.
  void ThawBriefly(const proto::WakeCause& cause, bool news = false) {
    held_ ? Wake(cause) : Thaw(cause, /*used=*/false, news);
  }
  bool paused() const { return paused_; }
  Instant paused_at() const { return timers_.paused_at(); }
  uint64_t thaws() const { return thaws_; }

  GroupPauser* group() { return group_ ? &*group_ : nullptr; }
  IdleDetector& detector() { return detector_; }
  const IdleDetector& detector() const { return detector_; }

  // When to call OnTimer; kNever: nothing is due.
  Instant NextDeadline() const;
  // True if there is something new to describe.
  bool OnTimer(Instant now);

  // Puts what it knows into `status`.
  void Describe(Instant now, proto::InstanceStatus& status) const;

  // IdleDetector::Delegate:
  IdleEvidence LookAtProcesses(Look what) override { return probe_.Look(what); }
  std::string LookAtTimers() override {
    return timers_.LookBeforePause(clock_.Now(), detector_);
  }
  void OnIdle() override;
  // GroupPauser::Delegate:
  bool BusyNow() override;
  bool Freeze() override;
  void ThawNow(const proto::WakeCause& cause) override { Thaw(cause); }
  void OnGroupUse() override;
  void OnGroupChange() override { delegate_.OnGroupChange(); }

 private:
  // `asked`: by a person, who does not mean the program's ticks to undo it.
  absl::Status PauseNow(bool asked);
  void Thaw(const proto::WakeCause& cause, bool used, bool news);

  const Clock& clock_;
  Cgroup& cgroup_;
  Delegate& delegate_;
  IdleProbe probe_;
  IdleDetector detector_;
  HostTimers timers_;
  Reclaimer reclaimer_;
  std::optional<GroupPauser> group_;
  Duration cpu_when_quiet_{0};  // with a group
  Instant quiet_at_;
  const uint32_t cpu_below_permille_;
  bool may_pause_ = false;
  bool paused_ = false;
  bool held_ = false;
  bool copied_ = false;
  std::optional<proto::WakeCause> wake_when_loose_;
  proto::WakeCause cause_;
  uint64_t thaws_ = 0;
  Duration last_thaw_{0};
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_PAUSER_H_
