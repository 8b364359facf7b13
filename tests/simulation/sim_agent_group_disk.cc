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
  group_disk_.Hold();
  keeps_ = true;
  Publish();
}

absl::Status SimAgent::BeginGroupDump() {
  BeginDump();
  return absl::OkStatus();
}

void SimAgent::OnGroupDumpEnded(bool failed) {
  group_disk_.OnDumpEnded(failed ? Unsupported() : absl::OkStatus());
  if (std::exchange(stop_after_dump_, false)) return Stop();
  if (control_.desired().goal() == DesiredState::RUN) OnCalledOff();
  Publish();
}

absl::Status SimAgent::CommitDump() {
  if (delegate_.CommitFails()) return Unsupported();
  WriteCheckpoint();
  End(proto::ExitReport::CHECKPOINTED, 0, "");
  return absl::OkStatus();
}

void SimAgent::OnCalledOff() {
  if (!ended_) group_disk_.OnCalledOff(control_.desired().stay_held());
}

void SimAgent::OnLoose() {
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
  group_disk_.OnRestored();
  std::vector<IpAddress> awaited;
  for (const std::string& bytes : manifest_.answers_awaited())
    awaited.push_back(
        IpAddress::FromBytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
  group_->OnRestored(std::move(awaited));
  // An orchestrator that was restarted has spoken already.
  if (control_.desired().version() > 0) OnCalledOff();
}

}  // namespace im::simulation
