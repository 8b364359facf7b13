// SimAgent: to disk, and back, after agent_checkpoint.cc and checkpointer.cc. The
// directories and the manifest are real, since imd looks at them; of the program's
// memory its manifest says what counts: whose it is, and its connections.

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "tests/simulation/sim_agent.h"

namespace im::simulation {
namespace {

namespace fs = std::filesystem;

const std::string& BootId() {
  static const std::string id = [] {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string line;
    std::getline(file, line);
    return line;
  }();
  return id;
}

int64_t Nanoseconds(Instant at) { return at.time_since_epoch().count(); }

}  // namespace

std::string SimAgent::CheckpointPath(const char* rest) const {
  return absl::StrCat(checkpointing_->directory(), rest);
}

// ---- to disk ----

void SimAgent::BeginCheckpoint() {
  dumping_ = keeps_ = true;
  Publish();
  BeginDump();
}

void SimAgent::BeginDump() {
  const DiskFate fate = delegate_.FateOnDisk(host_, /*restore=*/false);
  DiscardDump();
  fs::create_directory(CheckpointPath(".new"));
  world_.After(fate.takes, [&d = delegate_, node = node_, fate] {
    if (SimAgent* self = d.FindAgent(node)) self->OnDumpEnded(fate);
  });
}

void SimAgent::BeginMove() {
  if (ended_ || stopping_ || dumping_) return;
  // A command of `im exec` runs.
  dumping_ = !world_.Chance(10);  // no status tells that it sleeps, and no more
  if (!dumping_ || !PauseNow()) {
    dumping_ = false;
    refused_release_ = true;
    return;
  }
  moving_ = true;
  BeginCheckpoint();
}

void SimAgent::OnDumpEnded(const DiskFate& fate) {
  if (ended_) return;
  dumping_ = false;
  // CRIU was killed. What it has written is left.
  if (fate.lost) return End(proto::ExitReport::EXITED, 137, "lost while it was going to disk");
  if (!fate.fails) {
    ++memory_.snapshot;
    image_ = memory_;
  }
  if (group_disk_.held()) return OnGroupDumpEnded(fate.fails);
  if (!fate.fails) {
    WriteCheckpoint();
    return End(proto::ExitReport::CHECKPOINTED, 0, "");
  }
  released_as_idle_ = false;
  NotCheckpointed(Unsupported());
  LetGo();
  if (std::exchange(moving_, false)) wake_when_loose_.emplace();
  if (wake_when_loose_) Wake(*std::exchange(wake_when_loose_, std::nullopt));
  if (std::exchange(stop_after_dump_, false)) Stop();
}

void SimAgent::DiscardDump() { fs::remove_all(CheckpointPath(".new")); }

void SimAgent::NotCheckpointed(const absl::Status& why) {
  DiscardDump();
  not_checkpointed_ = std::string(why.message());
  Publish();
}

void SimAgent::WriteCheckpoint() {
  proto::CheckpointManifest manifest;
  manifest.set_host(id_.host);
  const auto address = address_.bytes();
  manifest.set_address(address.data(), address.size());
  manifest.set_fingerprint(checkpointing_->fingerprint());
  manifest.set_boot_id(BootId());
  manifest.set_made_at_ns(Nanoseconds(world_.Now()));
  manifest.set_paused_at_ns(Nanoseconds(paused_at_));
  if (timer_at_ != kNever) manifest.set_timer_at_ns(Nanoseconds(timer_at_));
  manifest.set_restore_at_once(moving_);
  manifest.set_root_pid(image_.life);
  manifest.set_pid_max(image_.snapshot);
  if (group_) PutGroupIn(manifest);
  for (const std::vector<uint8_t>& packet : std::exchange(kept_, {}))
    if (!group_) manifest.add_packets()->set_packet(packet.data(), packet.size());
  for (const auto& [peer, connection] : image_.connections) {
    proto::KeptConnection& kept = *manifest.add_connections();
    const auto bytes = peer.address.bytes();
    kept.set_peer(bytes.data(), bytes.size());
    kept.set_peer_port(peer.port);
    kept.set_port(kServicePort);
    kept.set_receive_next(connection.receive_next);
    kept.set_send_next(connection.send_next);
    kept.set_window(64'000);
  }
  {
    std::ofstream file(CheckpointPath(".new/manifest"), std::ios::binary);
    IM_CHECK(manifest.SerializeToOstream(&file));
  }
  fs::remove_all(CheckpointPath(""));
  fs::rename(CheckpointPath(".new"), CheckpointPath(""));
  delegate_.OnCheckpointed(*this);
}

// What came meanwhile, in order.
void SimAgent::LetGo() {
  keeps_ = false;
  for (std::vector<uint8_t>& packet : std::exchange(kept_, {})) ToKernel(std::move(packet));
  if (!paused_) ReadAll();
}

// ---- back ----

void SimAgent::ReadCheckpoint() {
  std::ifstream file(CheckpointPath("/manifest"), std::ios::binary);
  if (!file || !manifest_.ParseFromIstream(&file) || manifest_.boot_id() != BootId())
    return End(proto::ExitReport::SANDBOX_FAILED, 127, "there is no checkpoint");
  keeps_ = true;
}

void SimAgent::BeginRestoreIfReady() {
  if (!ready_to_restore_ || !gateway_seen_ || ended_ || stopping_ ||
      std::exchange(restore_begun_, true))
    return;
  for (const auto* packets : {&manifest_.quiet_packets(), &manifest_.packets()})
    for (const proto::KeptPacket& kept : *packets)
      kept_.emplace_back(kept.packet().begin(), kept.packet().end());
  if (unlink(CheckpointPath("/manifest").c_str()) != 0)
    return End(proto::ExitReport::RESTORE_FAILED, 127, "the checkpoint is gone");
  const DiskFate fate = delegate_.FateOnDisk(host_, /*restore=*/true);
  world_.After(fate.takes, [&d = delegate_, node = node_, fate] {
    if (SimAgent* self = d.FindAgent(node)) self->OnRestoreEnded(fate);
  });
}

void SimAgent::OnRestoreEnded(const DiskFate& fate) {
  if (ended_) return;
  if (fate.fails || fate.lost)
    return End(proto::ExitReport::RESTORE_FAILED, 127, "CRIU: something is not supported");
  memory_ = delegate_.MemoryOnDisk(host_, manifest_.root_pid(), manifest_.pid_max());
  for (const proto::KeptConnection& kept : manifest_.connections()) {
    const IpAddress peer = IpAddress::FromBytes(
        {reinterpret_cast<const uint8_t*>(kept.peer().data()), kept.peer().size()});
    memory_.connections[{peer, static_cast<uint16_t>(kept.peer_port())}] = {
        kept.receive_next(), kept.send_next()};
  }
  delegate_.OnMemory(*this, memory_);
  if (stopping_) return;  // its stop signal waits for it
  RunProgram();
  LetGo();
}

}  // namespace im::simulation
