// Agent: its host to disk, and back.

#include <sys/wait.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "orchestrator/agent/agent.h"
#include "orchestrator/agent/manifest_packets.h"
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
  pauser_->OnCopied();
  if (group_disk_.held() && !absl::IsDataLoss(status)) return OnGroupDumpEnded(status);
  if (status.ok()) {
    proto::CheckpointManifest manifest = MakeManifest();
    status = checkpointer_->Commit(manifest);
  }
  if (status.ok()) return EndOnDisk();
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

void Agent::EndOnDisk() {
  cgroup_->KillFrozen();
  End(proto::ExitReport::CHECKPOINTED, 0, "");
}

proto::CheckpointManifest Agent::MakeManifest() const {
  proto::CheckpointManifest manifest;
  if (pauser_->group() != nullptr) {
    PutGroupIn(manifest);
  } else {
    for (const Packet& packet : data_path_->kept()) *manifest.add_packets() = ToKept(packet);
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
  return manifest;
}

void Agent::NotCheckpointed(const absl::Status& why) {
  not_checkpointed_ = std::string(why.message());
  pauser_->detector().SleepAnew(loop_->now());
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
  for (const auto* packets : {&manifest_.quiet_packets(), &manifest_.packets()})
    for (const proto::KeptPacket& kept : *packets) data_path_->KeepMore(FromKept(kept));
  const absl::Status begun = checkpointer_->BeginRestore(manifest_, output_->stdio()[1]);
  output_->CloseProgramSide();
  proto::CheckpointManifest rest;  // of a member of a group
  rest.mutable_answers_awaited()->Swap(manifest_.mutable_answers_awaited());
  manifest_ = std::move(rest);
  if (!begun.ok())
    End(proto::ExitReport::RESTORE_FAILED, 127 << 8, std::string(begun.message()));
}

}  // namespace im::agent
