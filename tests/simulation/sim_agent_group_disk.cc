// SimAgent: to disk with its group, and back, after agent_group_disk.cc.

#include <filesystem>
#include <utility>
#include <vector>

#include "base/ip_build.h"
#include "tests/simulation/sim_agent.h"

namespace im::simulation {

using proto::DesiredState;

// ---- to disk ----

void SimAgent::HoldForGroup() {
  disk_ = Disk::kHeld;
  keeps_ = true;
  Publish();
}

void SimAgent::OnDiskStep(const DesiredState& desired) {
  if (ended_ || stopping_) return;
  if (disk_ == Disk::kNotHeld || disk_ == Disk::kRestored) {
    refused_release_ = true;
  } else if (desired.disk_step() == DesiredState::DUMP && disk_ == Disk::kHeld) {
    disk_ = Disk::kDumping;
    BeginDump();
  } else if (desired.disk_step() == DesiredState::COMMIT && disk_ == Disk::kDumped) {
    CommitWithGroup();
  }
}

void SimAgent::OnGroupDumpEnded(bool failed) {
  disk_ = failed ? Disk::kHeld : Disk::kDumped;
  if (failed) NotCheckpointed();
  if (std::exchange(stop_after_dump_, false)) return Stop();
  if (control_.desired().goal() == DesiredState::RUN) OnCalledOff();
  Publish();
}

void SimAgent::CommitWithGroup() {
  if (!delegate_.CommitFails()) {
    WriteCheckpoint();
    return End(proto::ExitReport::CHECKPOINTED, 0, "");
  }
  disk_ = Disk::kHeld;
  NotCheckpointed();
}

void SimAgent::OnCalledOff() {
  if (ended_ || disk_ == Disk::kNotHeld || disk_ == Disk::kDumping) return;
  if (disk_ == Disk::kDumped) {
    Discard();
    disk_ = Disk::kHeld;
  }
  if (!control_.desired().stay_held()) LetLoose();
}

void SimAgent::LetLoose() {
  if (disk_ == Disk::kDumped) Discard();
  disk_ = Disk::kNotHeld;
  released_as_idle_ = false;
  detector_.SleepAnew(world_.Now());
  LetGo();
  if (wake_when_loose_) Wake(*std::exchange(wake_when_loose_, std::nullopt));
}

// What is unread of fellows, and what came from them, is no reason to be restored.
void SimAgent::PutGroupIn(proto::CheckpointManifest& manifest) const {
  const auto put = [&manifest](const std::vector<uint8_t>& packet, bool quiet) {
    proto::KeptPacket& kept = quiet ? *manifest.add_quiet_packets() : *manifest.add_packets();
    kept.set_packet(packet.data(), packet.size());
  };
  for (const std::vector<uint8_t>& packet : kernel_) put(packet, /*quiet=*/true);
  for (const std::vector<uint8_t>& packet : kept_)
    put(packet, group_->IsFellow(dual_stack_.Plain(ParseIp(packet)->source)));
  for (const IpAddress& fellow : group_->AnswersAwaited())
    manifest.add_answers_awaited(std::string(fellow.bytes().begin(), fellow.bytes().end()));
}

// ---- back ----

// Its program has not run yet.
void SimAgent::HoldRestored() {
  (void)PauseNow();
  paused_at_ = Instant(Duration(manifest_.paused_at_ns()));
  disk_ = Disk::kRestored;
  std::vector<IpAddress> awaited;
  for (const std::string& bytes : manifest_.answers_awaited())
    awaited.push_back(
        IpAddress::FromBytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
  group_->OnRestored(std::move(awaited));
  // An orchestrator that was restarted has spoken already.
  if (control_.desired().version() > 0) OnCalledOff();
}

proto::InstanceStatus::Disk SimAgent::DescribeDisk() const {
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

}  // namespace im::simulation
