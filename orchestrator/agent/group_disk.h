// GroupDisk: a host's steps to disk with its group, and back. The orchestrator leads.
//
//   not held   Hold   → held: nothing goes in or out, and what comes is kept
//   held       DUMP   → dumping, then dumped: a copy is there that does not count yet, and
//                       the program is frozen as before; or held, and why it cannot be
//   dumped     COMMIT → the copy counts, and all ends; or held, and why not
//   any        called off → the copy is thrown away, held; not to stay so: not held
//   restored   called off, or asked to be held → not held, as soon as it need not stay held
//
// Only that, or its own end, lets the host loose: who says that it is held, or dumped,
// goes where its fellows go. A dump that was begun is awaited.

#ifndef IM_ORCHESTRATOR_AGENT_GROUP_DISK_H_
#define IM_ORCHESTRATOR_AGENT_GROUP_DISK_H_

#include <cstdint>

#include "absl/status/status.h"
#include "proto/agent.pb.h"

namespace im::agent {

class GroupDisk {
 public:
  enum class State : uint8_t { kNotHeld, kHeld, kDumping, kDumped, kRestored };

  class Delegate {
   public:
    virtual ~Delegate() = default;
    // OnDumpEnded follows, unless there is an error.
    virtual absl::Status BeginGroupDump() = 0;
    // The copy counts, and all ends.
    virtual absl::Status CommitDump() = 0;
    virtual void DiscardDump() = 0;
    virtual void OnLoose() = 0;
    virtual void NotCheckpointed(const absl::Status& why) = 0;
  };

  // `delegate` must outlive it.
  explicit GroupDisk(Delegate& delegate) : delegate_(delegate) {}

  State state() const { return state_; }
  bool held() const { return state_ != State::kNotHeld; }
  // As the orchestrator is told of it: who was restored is held as any other.
  proto::InstanceStatus::Disk Describe() const;

  void Hold() { state_ = State::kHeld; }
  // Its program has not run yet.
  void OnRestored() { state_ = State::kRestored; }
  // False: it was never asked to be held.
  bool OnStep(proto::DesiredState::DiskStep step);
  // An error: why there is no copy.
  void OnDumpEnded(const absl::Status& status);
  void OnCalledOff(bool stay_held);
  // Asked to be held anew: that it may run was said before, and was not heard.
  void OnHoldAsked() {
    if (state_ == State::kRestored) Loosen();
  }
  void Loosen();

 private:
  Delegate& delegate_;
  State state_ = State::kNotHeld;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_GROUP_DISK_H_
