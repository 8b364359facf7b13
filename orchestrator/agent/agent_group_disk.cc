// Agent: its host to disk with its group, and back (group_disk.h). What it is woken for meanwhile
// counts when it is loose.

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
  group_disk_.Hold();
  pauser_->Hold();
  data_path_->Keep(/*nor_out=*/true);
  Publish();
}

absl::Status Agent::BeginGroupDump() {
  IM_RETURN_IF_ERROR(CheckUnread());
  return checkpointer_->BeginDump(program_, output_->pipe_inode());
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
  if (status.ok()) {
    proto::CheckpointManifest manifest = MakeManifest();
    status = checkpointer_->Prepare(manifest);
  }
  group_disk_.OnDumpEnded(status);
  if (std::exchange(stop_after_dump_, false)) return Stop();
  if (control_.desired().goal() == proto::DesiredState::RUN) OnCalledOff();
  Publish();
}

absl::Status Agent::CommitDump() {
  proto::CheckpointManifest manifest = MakeManifest();
  absl::Status status = checkpointer_->Commit(manifest);
  if (status.ok()) EndOnDisk();
  return status;
}

void Agent::DiscardDump() { checkpointer_->Discard(); }

void Agent::OnCalledOff() {
  if (!ended_) group_disk_.OnCalledOff(control_.desired().stay_held());
}

void Agent::OnLoose() {
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
    manifest.add_answers_awaited(fellow.ToBytes());
}

// ---- back ----

void Agent::HoldRestored() {
  const absl::Status status = pauser_->PauseStopped();
  if (!status.ok()) {
    IM_LOG(kError, "it runs before its group does: ", std::string(status.message()));
    return;
  }
  group_disk_.OnRestored();
  std::vector<IpAddress> awaited;
  for (const std::string& bytes : manifest_.answers_awaited())
    if (bytes.size() == 4 || bytes.size() == 16)
      awaited.push_back(IpAddress::FromBytes(
          {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
  pauser_->group()->OnRestored(std::move(awaited));
  // An orchestrator that was restarted has spoken already.
  if (control_.desired().version() > 0) OnCalledOff();
}

}  // namespace im::agent
