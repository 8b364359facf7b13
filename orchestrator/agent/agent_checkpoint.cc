// Agent: its host to disk, and back.

#include <sys/wait.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "orchestrator/agent/agent.h"
#include "orchestrator/agent/wake_cause.h"

namespace im::agent {
namespace {

// From the begin of a restore to the program's first turn: by so much earlier a
// host is restored for a timer.
constexpr Duration kRestoreTakes = std::chrono::milliseconds(100);

}  // namespace

// ---- to disk ----

void Agent::BeginCheckpoint() {
  if (const absl::Status status = checkpointer_->BeginDump(program_, output_->pipe_inode());
      !status.ok())
    return NotCheckpointed(status);
  pauser_->Hold();
  data_path_->Keep(/*nor_out=*/true);
  Publish();
}

// Use of the host is no reason against it: it is frozen where it stands.
void Agent::BeginMove() {
  if (ended_ || stopping_ || !checkpointer_ || checkpointer_->dumping()) return;
  absl::Status status;
  if (exec_sessions_ > 0) {
    status = absl::FailedPreconditionError("a command of im exec runs");
  } else if (program_ == 0 || held_packets_ > 0) {
    status = absl::FailedPreconditionError("the program does not listen yet");
  } else {
    status = pauser_->Pause();
  }
  if (!status.ok()) {
    IM_LOG(kInfo, "not moved: ", std::string(status.message()));
    refused_release_ = true;
    return;
  }
  moving_ = true;
  BeginCheckpoint();
  if (!checkpointer_->dumping()) EndMove();
}

// It stays, and is to go on.
void Agent::EndMove() {
  if (std::exchange(moving_, false)) pauser_->Wake(CauseOf(proto::WakeCause::RESTART));
}

void Agent::OnCriuEnded(int wait_status, const std::string& error) {
  if (ended_) return;
  if (!checkpointer_->dumping())
    return End(proto::ExitReport::RESTORE_FAILED, wait_status,
               checkpointer_->RestoreError(wait_status, error));
  absl::Status status = checkpointer_->OnDumpEnded(wait_status, error);
  if (status.ok()) status = FinishCheckpoint();
  if (status.ok()) {
    cgroup_->KillFrozen();
    return End(proto::ExitReport::CHECKPOINTED, 0, "");
  }
  if (absl::IsDataLoss(status)) {
    // Nothing more leaves its kernel: who asks again is told by the next instance.
    cgroup_->KillFrozen();
    return End(proto::ExitReport::EXITED, SIGKILL,
               absl::StrCat("lost while it was going to disk: ", std::string(status.message())));
  }
  NotCheckpointed(status);
  data_path_->LetGo();
  pauser_->Loosen();
  EndMove();
  if (std::exchange(stop_after_dump_, false)) Stop();
}

absl::Status Agent::FinishCheckpoint() {
  proto::CheckpointManifest manifest;
  for (const Packet& packet : data_path_->kept()) {
    proto::KeptPacket& kept = *manifest.add_packets();
    kept.set_packet(packet.data, packet.size);
    kept.set_segment_size(packet.segment_size);
    kept.set_checksum_partial(packet.checksum_partial);
    kept.set_checksum_valid(packet.checksum_valid);
  }
  manifest.set_restore_at_once(moving_);
  manifest.set_paused_at_ns(pauser_->paused_at().time_since_epoch().count());
  const proto::InstanceStatus status = MakeStatus();
  if (status.timer_in_ms() > 0) {
    const Instant at =
        loop_->now() + std::chrono::milliseconds(status.timer_in_ms()) - kRestoreTakes;
    manifest.set_timer_at_ns(at.time_since_epoch().count());
    manifest.set_timer_of(status.timer_of());
  }
  return checkpointer_->Commit(manifest);
}

void Agent::NotCheckpointed(const absl::Status& why) {
  not_checkpointed_ = std::string(why.message());
  IM_LOG(kWarning, "not checkpointed: ", not_checkpointed_);
  Publish();
}

// ---- back ----

std::optional<Agent::Failure> Agent::ReadCheckpoint() {
  if (!restoring()) return std::nullopt;
  absl::StatusOr<proto::CheckpointManifest> manifest = Checkpointer::Read(request_);
  if (!manifest.ok()) return Failure{proto::ExitReport::SANDBOX_FAILED, manifest.status()};
  manifest_ = *std::move(manifest);
  return std::nullopt;
}

void Agent::OnReadyToRestore() {
  ready_to_restore_ = true;
  BeginRestoreIfReady();
}

// With the gateway seen and the sandbox made little is left that can fail.
void Agent::BeginRestoreIfReady() {
  if (!ready_to_restore_ || !gateway_seen_ || ended_ || stopping_ ||
      std::exchange(restore_begun_, true))
    return;
  for (const proto::KeptPacket& kept : manifest_.packets()) {
    PacketBatch batch;
    Packet& packet = batch.Append(kept.packet().size());
    kept.packet().copy(reinterpret_cast<char*>(packet.data), packet.size);
    packet.segment_size = static_cast<uint16_t>(kept.segment_size());
    packet.checksum_partial = kept.checksum_partial();
    packet.checksum_valid = kept.checksum_valid();
    data_path_->KeepMore(batch);
  }
  const absl::Status begun = checkpointer_->BeginRestore(manifest_, output_->stdio()[1]);
  output_->CloseProgramSide();
  manifest_.Clear();
  if (!begun.ok())
    End(proto::ExitReport::RESTORE_FAILED, 127 << 8, std::string(begun.message()));
}

}  // namespace im::agent
