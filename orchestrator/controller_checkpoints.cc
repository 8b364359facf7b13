// Hosts that are on disk.

#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.h"
#include "orchestrator/controller.h"

namespace im::orchestrator {
namespace {

Instant At(int64_t monotonic_ns) { return Instant(Duration(monotonic_ns)); }

Activator::End ToEnd(const proto::ExitReport& report) {
  using Kind = Activator::End::Kind;
  Activator::End end;
  end.message = report.message();
  switch (report.reason()) {
    case proto::ExitReport::RELEASED:
      end.kind = Kind::kReleased;
      break;
    case proto::ExitReport::CHECKPOINTED:
      end.kind = Kind::kCheckpointed;
      break;
    case proto::ExitReport::EXITED:
      end.kind = report.exit_code() == 0 && report.signal() == 0 ? Kind::kExited : Kind::kFailed;
      if (!end.message.empty()) break;
      end.message = report.signal() != 0
                        ? absl::StrCat("killed by signal ", report.signal())
                        : absl::StrCat("exited with status ", report.exit_code());
      break;
    default:
      end.kind = Kind::kFailed;
      break;
  }
  return end;
}

// Of a manifest, on the clock of this boot.
std::optional<Duration> TimerIn(const proto::CheckpointManifest& manifest, Instant now) {
  if (!manifest.has_timer_at_ns()) return std::nullopt;
  return std::max(At(manifest.timer_at_ns()) - now, Duration(0));
}

bool RestoreAtOnce(const proto::CheckpointManifest& manifest) {
  return manifest.packets_size() > 0 || manifest.restore_at_once();
}

}  // namespace

absl::Status Controller::PrepareCheckpointing(HostId host, proto::StartRequest& request) const {
  if (!GoesToDisk(host)) return absl::OkStatus();
  if (hosts_[host].state == HostState::kRestoring) {
    request.mutable_checkpointing()->set_restore(true);
    return absl::OkStatus();
  }
  checkpoints_.Remove(hosts_[host].name);
  return checkpoints_.MakeDirectory();
}

// nullopt: there is none, or it is of a host of this name that was another one. That
// may be seen only at its instance's end: of one that was taken back.
std::optional<proto::CheckpointManifest> Controller::CheckpointOf(HostId host) const {
  std::optional<proto::CheckpointManifest> manifest = checkpoints_.Read(hosts_[host].name);
  if (!manifest || !GoesToDisk(host)) return std::nullopt;
  const absl::StatusOr<std::string> fingerprint = requests_.FingerprintOf(spec_.hosts[host]);
  if (fingerprint.ok() && *fingerprint == manifest->fingerprint()) return manifest;
  IM_LOG(kWarning, "the checkpoint of ", hosts_[host].name,
         " is of another command, environment or place");
  return std::nullopt;
}

Activator::End Controller::EndOf(HostId host, const proto::ExitReport& report) {
  Activator::End end = ToEnd(report);
  if (!GoesToDisk(host)) return end;
  // It may have been killed in the middle, and has gigabytes.
  checkpoints_.RemoveUnfinished(hosts_[host].name);
  const std::optional<proto::CheckpointManifest> manifest = CheckpointOf(host);
  if (!manifest) {
    if (end.kind == Activator::End::Kind::kCheckpointed)
      end = {.kind = Activator::End::Kind::kFailed,
             .message = "there is no checkpoint of this host as it is now"};
    return end;
  }
  end.checkpoint_kept = true;
  connections_on_disk_.Set(host, *manifest);
  end.timer_in = TimerIn(*manifest, now());
  end.restore_at_once = RestoreAtOnce(*manifest);
  return end;
}

// It is used up, or nobody wants it.
void Controller::RemoveCheckpoint(const Transition& transition) {
  if (!GoesToDisk(transition.host)) return;
  if (transition.from == HostState::kCheckpointed || transition.to == HostState::kImaginary)
    connections_on_disk_.Forget(transition.host);
  const bool used = transition.from == HostState::kRestoring &&
                    transition.to != HostState::kCheckpointed &&
                    transition.to != HostState::kReleasing;
  if (used || transition.to == HostState::kImaginary)
    checkpoints_.Remove(hosts_[transition.host].name);
}

bool Controller::AnsweredFor(HostId host, const Packet& packet, const IpView& view) {
  if (hosts_[host].state != HostState::kCheckpointed) return false;
  std::vector<uint8_t> answer;
  const ConnectionsOnDisk::Verdict verdict =
      connections_on_disk_.OnPacket(host, packet, view, answer);
  if (verdict == ConnectionsOnDisk::Verdict::kAnswer) gateway_.Send(answer, view.source);
  return verdict != ConnectionsOnDisk::Verdict::kForHost;
}

// Of hosts with an instance: when that has ended.
void Controller::AdoptCheckpoints() {
  checkpoints_.RemoveUnfinished([this](const std::string& name) {
    const std::optional<HostId> host = hosts_.FindByName(name);
    return host.has_value() && FindInstance(*host) != nullptr;
  });
  std::vector<HostId> wanted;
  checkpoints_.ForEach([this, &wanted](const std::string& name) {
    const std::optional<HostId> host = hosts_.FindByName(name);
    if (host.has_value() && FindInstance(*host) != nullptr) return;
    const std::optional<proto::CheckpointManifest> manifest =
        host.has_value() ? CheckpointOf(*host) : std::nullopt;
    if (!manifest) return checkpoints_.Remove(name);
    connections_on_disk_.Set(*host, *manifest);
    activator_.AdoptCheckpoint(*host, std::max(now() - At(manifest->made_at_ns()), Duration(0)),
                               TimerIn(*manifest, now()), now());
    if (RestoreAtOnce(*manifest)) wanted.push_back(*host);
  });
  // Now that their groups are complete.
  for (const HostId host : wanted)
    (void)activator_.Wake(host, MakeCause(Cause::Kind::kData), now());
}

}  // namespace im::orchestrator
