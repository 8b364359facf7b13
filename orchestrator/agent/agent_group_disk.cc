// Agent: its host to disk with its group, and back. The orchestrator leads.
//
//   not held   HOLD   → held, unless it is in use: nothing goes in or out, and what comes
//                       is kept
//   held       DUMP   → dumping, then dumped: a copy is there that does not count yet, and
//                       the program is frozen as before; or held, and why it cannot be
//   dumped     COMMIT → the copy counts, and all ends
//   any        RUN    → the copy is thrown away, held; without stay_held: not held
//   restored   RUN without stay_held → not held
//
// Only RUN, or its own end, lets the host loose: who says that it is held, or dumped,
// goes where its fellows go. What it is woken for meanwhile counts when it is loose.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/ip_header.h"
#include "base/log.h"
#include "orchestrator/agent/agent.h"
#include "orchestrator/agent/checkpoint_checks.h"
#include "orchestrator/agent/manifest_packets.h"
#include "orchestrator/agent/proc_stat.h"

namespace im::agent {

// ---- to disk ----

void Agent::HoldForGroup() {
  disk_ = Disk::kHeld;
  pauser_->Hold();
  data_path_->Keep(/*nor_out=*/true);
  Publish();
}

void Agent::OnDiskStep(const proto::DesiredState& desired) {
  if (ended_ || stopping_) return;
  if (disk_ == Disk::kNotHeld || disk_ == Disk::kRestored) {
    refused_release_ = true;  // it was never asked to be held
    return;
  }
  if (desired.disk_step() == proto::DesiredState::DUMP && disk_ == Disk::kHeld) {
    absl::Status status = CheckUnread();
    if (status.ok()) status = checkpointer_->BeginDump(program_, output_->pipe_inode());
    if (!status.ok()) return NotCheckpointed(status);
    disk_ = Disk::kDumping;
  } else if (desired.disk_step() == proto::DesiredState::COMMIT && disk_ == Disk::kDumped) {
    CommitWithGroup();
  }
}

// What lies unread in sockets is not copied; we have what came since the pause.
absl::Status Agent::CheckUnread() const {
  absl::flat_hash_set<uint16_t> ports;
  for (const Packet& packet : data_path_->unread())
    if (const std::optional<IpView> view = ParseIp(packet.bytes()))
      ports.insert(view->destination_port);
  for (const char* table : {"udp", "udp6"})
    IM_RETURN_IF_ERROR(CheckDatagrams(
        ReadSmallFile(absl::StrCat("/proc/", sandbox_->init(), "/net/", table)), ports));
  return absl::OkStatus();
}

void Agent::OnGroupDumpEnded(absl::Status status) {
  disk_ = Disk::kHeld;
  if (status.ok()) {
    proto::CheckpointManifest manifest = MakeManifest();
    status = checkpointer_->Prepare(manifest);
  }
  if (status.ok()) {
    disk_ = Disk::kDumped;
  } else {
    NotCheckpointed(status);
  }
  if (std::exchange(stop_after_dump_, false)) return Stop();
  if (control_.desired().goal() == proto::DesiredState::RUN) OnCalledOff();
  Publish();
}

void Agent::CommitWithGroup() {
  proto::CheckpointManifest manifest = MakeManifest();
  const absl::Status status = checkpointer_->Commit(manifest);
  if (status.ok()) return EndOnDisk();
  disk_ = Disk::kHeld;
  NotCheckpointed(status);
}

void Agent::OnCalledOff() {
  if (ended_ || disk_ == Disk::kNotHeld || disk_ == Disk::kDumping) return;
  if (disk_ == Disk::kDumped) {
    checkpointer_->Discard();
    disk_ = Disk::kHeld;
  }
  if (!control_.desired().stay_held()) LetLoose();
}

void Agent::LetLoose() {
  if (disk_ == Disk::kDumped) checkpointer_->Discard();
  disk_ = Disk::kNotHeld;
  pauser_->detector().SleepAnew(loop_->now());
  data_path_->LetGo();
  pauser_->Loosen();
}

// What came from outside is a reason to be restored; the rest waits until that happens.
void Agent::PutGroupIn(proto::CheckpointManifest& manifest) const {
  for (const Packet& packet : data_path_->unread())
    *manifest.add_quiet_packets() = ToKept(packet);
  for (const Packet& packet : data_path_->kept()) {
    const std::optional<IpView> view = ParseIp(packet.bytes());
    const bool quiet = view && pauser_->group()->IsFellow(dual_stack_.Plain(view->source));
    *(quiet ? manifest.add_quiet_packets() : manifest.add_packets()) = ToKept(packet);
  }
  for (const IpAddress& fellow : pauser_->group()->AnswersAwaited())
    manifest.add_answers_awaited(std::string(fellow.bytes().begin(), fellow.bytes().end()));
}

// ---- back ----

void Agent::HoldRestored() {
  const absl::Status status = pauser_->PauseStopped();
  if (!status.ok()) {
    IM_LOG(kError, "it runs before its group does: ", std::string(status.message()));
    return;
  }
  disk_ = Disk::kRestored;
  std::vector<IpAddress> awaited;
  for (const std::string& bytes : manifest_.answers_awaited())
    if (bytes.size() == 4 || bytes.size() == 16)
      awaited.push_back(IpAddress::FromBytes(
          {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
  pauser_->group()->OnRestored(std::move(awaited));
  // An orchestrator that was restarted has spoken already.
  if (control_.desired().version() > 0) OnCalledOff();
}

proto::InstanceStatus::Disk Agent::DescribeDisk() const {
  switch (disk_) {
    case Disk::kNotHeld:
      return proto::InstanceStatus::NOT_HELD;
    case Disk::kHeld:
    case Disk::kRestored:
      return proto::InstanceStatus::HELD;
    case Disk::kDumping:
      return proto::InstanceStatus::DUMPING;
    case Disk::kDumped:
      return proto::InstanceStatus::DUMPED;
  }
  return proto::InstanceStatus::NOT_HELD;
}

}  // namespace im::agent
