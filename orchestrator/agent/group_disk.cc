#include "orchestrator/agent/group_disk.h"

namespace im::agent {

using proto::DesiredState;

bool GroupDisk::OnStep(DesiredState::DiskStep step) {
  if (state_ == State::kNotHeld || state_ == State::kRestored) return false;
  if (step == DesiredState::DUMP && state_ == State::kHeld) {
    const absl::Status begun = delegate_.BeginGroupDump();
    if (begun.ok()) {
      state_ = State::kDumping;
    } else {
      delegate_.NotCheckpointed(begun);
    }
  } else if (step == DesiredState::COMMIT && state_ == State::kDumped) {
    if (const absl::Status committed = delegate_.CommitDump(); !committed.ok()) {
      state_ = State::kHeld;
      delegate_.NotCheckpointed(committed);
    }
  }
  return true;
}

void GroupDisk::OnDumpEnded(const absl::Status& status) {
  state_ = status.ok() ? State::kDumped : State::kHeld;
  if (!status.ok()) delegate_.NotCheckpointed(status);
}

void GroupDisk::OnCalledOff(bool stay_held) {
  if (state_ == State::kNotHeld || state_ == State::kDumping) return;
  if (!stay_held) return Loosen();
  if (state_ != State::kDumped) return;
  delegate_.DiscardDump();
  state_ = State::kHeld;
}

void GroupDisk::Loosen() {
  if (state_ == State::kDumped) delegate_.DiscardDump();
  state_ = State::kNotHeld;
  delegate_.OnLoose();
}

proto::InstanceStatus::Disk GroupDisk::Describe() const {
  switch (state_) {
    case State::kNotHeld:
      return proto::InstanceStatus::NOT_HELD;
    case State::kHeld:
    case State::kRestored:
      return proto::InstanceStatus::HELD;
    case State::kDumping:
      return proto::InstanceStatus::DUMPING;
    case State::kDumped:
      return proto::InstanceStatus::DUMPED;
  }
  return proto::InstanceStatus::NOT_HELD;
}

}  // namespace im::agent
