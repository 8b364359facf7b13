// What is saved, and how instances are taken back.

#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "orchestrator/controller.h"

namespace im::orchestrator {
namespace {

std::optional<IpAddress> ParseAddress(const std::string& bytes) {
  if (bytes.size() != 4 && bytes.size() != 16) return std::nullopt;
  return IpAddress::FromBytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

// In the directory of a host's instances. "INCARNATION ENDPOINT".
constexpr char kNotedEndpoint[] = "/endpoint";

std::optional<Endpoint> NotedEndpoint(const std::string& directory, uint64_t incarnation) {
  std::ifstream file(directory + kNotedEndpoint);
  uint64_t its = 0;
  std::string text;
  file >> its >> text;
  return its == incarnation ? Endpoint::Parse(text) : std::nullopt;
}

// The wall clock may have jumped.
Duration AgeOf(const proto::SavedInstance& saved, int64_t unix_nanos) {
  if (saved.started_unix_nanos() <= 0) return Duration(0);
  return Duration(std::max<int64_t>(unix_nanos - saved.started_unix_nanos(), 0));
}

}  // namespace

uint64_t FirstIncarnation(const proto::SavedState& saved, uint64_t life) {
  const uint64_t unsaved = life > saved.life() ? life - saved.life() : 1;
  if (saved.next_incarnation() == 0) return 1 + kIncarnationGap * (unsaved - 1);
  return saved.next_incarnation() + kIncarnationGap * unsaved;
}

void Controller::Restore(const std::optional<proto::SavedState>& saved) {
  if (saved) RestoreInstances(*saved);
  AdoptCheckpoints();
  if (saved) AdoptStarts(*saved);
  Touch();
}

void Controller::AdoptStarts(const proto::SavedState& saved) {
  for (const proto::SavedStart& start : saved.to_start()) {
    const std::optional<HostId> host = hosts_.FindByName(start.host());
    if (!host || hosts_[*host].guest || HasInstance(hosts_[*host].state)) continue;
    activator_.AdoptStart(*host, FromProto(start.cause()), now());
  }
}

void Controller::RestoreInstances(const proto::SavedState& saved) {
  for (const std::string& name : saved.completed()) {
    const std::optional<HostId> host = hosts_.FindByName(name);
    if (host.has_value()) activator_.AdoptCompleted(*host);
  }
  for (const proto::HostName& guest : saved.guests()) {
    const std::optional<IpAddress> address = ParseAddress(guest.address());
    if (!address.has_value()) continue;
    const absl::StatusOr<HostId> host = guests_.AddSaved(guest.name(), *address, now(), hosts_);
    if (!host.ok()) {
      IM_LOG(kWarning, "guest ", guest.name(), " is not taken back: ", host.status().message());
    }
  }
  for (const proto::SavedInstance& instance : saved.instances()) {
    const std::optional<HostId> host = hosts_.FindByName(instance.host());
    const std::optional<IpAddress> address = ParseAddress(instance.address());
    if (host.has_value() && address == hosts_[*host].address && !FindInstance(*host)) {
      AdoptSaved(instance, *host);
    } else {
      KillStray(instance);
    }
  }
  provider_->EndOthers(requests_.DirectoryOf(""));
  // Guests whose agent was never heard from have no instance to wait for.
  std::vector<HostId> lost;
  guests_.ForEach([&](HostId host) {
    if (FindInstance(host) == nullptr) lost.push_back(host);
  });
  for (const HostId host : lost) {
    guests_.Remove(host);
    activator_.RemoveGuest(host);
  }
}

void Controller::AdoptSaved(const proto::SavedInstance& saved, HostId host) {
  const std::optional<tunnel::PublicKey> key = tunnel::PublicKey::FromBytes(saved.public_key());
  if (!key.has_value()) return KillStray(saved);
  tunnel::PeerConfig peer;
  peer.public_key = *key;
  peer.allowed_ips = spec_.dual_stack.HostPrefixes(hosts_[host].address);
  peer.probe_mtu = true;
  peer.endpoint = Endpoint::Parse(saved.endpoint());
  if (!peer.endpoint)
    peer.endpoint = NotedEndpoint(requests_.DirectoryOf(saved.host()), saved.incarnation());
  if (absl::Status status = tunnel_.SetPeer(peer); !status.ok()) {
    IM_LOG(kError, "instance of ", saved.host(), " is not taken back: ", status.message());
    return KillStray(saved);
  }
  const Cause cause = FromProto(saved.cause());
  activator_.Adopt(host, saved.incarnation(), cause, now(),
                   AgeOf(saved, loop_.clock().UnixNanos()), saved.renews());
  Instance& instance = AddInstance(host, saved.incarnation(), *key, cause, /*adopted=*/true);
  instance.started_unix_nanos = saved.started_unix_nanos();
  instance.handle = {saved.agent_pid(), saved.agent_start_ticks()};
  // Also a guest's: its client has lost us, so its end is for the provider to
  // tell.
  instance.provided = true;
  provider_->Adopt(instance.id, instance.handle, instance.directory);
  if (!peer.endpoint.has_value()) return;  // it will come to us
  // Where nothing is saved of its endpoint, nothing is of its readiness either.
  if (!saved.endpoint().empty() && !saved.not_ready())
    introductions_.SetEndpoint(instance.address, *peer.endpoint, now());
  instance.reachable = true;
  tunnel_.Connect(*key);
  // Its answer is a status.
  SendDesired(instance);
}

// At once, as the whole state may be saved much later (kSaveQuiet): a paused agent says
// nothing by itself, so the next orchestrator could not find it.
void Controller::NoteEndpoint(const Instance& instance, const Endpoint& endpoint) {
  std::ofstream file(instance.directory + kNotedEndpoint);
  file << absl::StrCat(instance.id.incarnation, " ", endpoint.ToString(), "\n");
}

void Controller::KillStray(const proto::SavedInstance& saved) {
  const InstanceId id{saved.host(), saved.incarnation()};
  IM_LOG(kWarning, "an instance of ", saved.host(), " is of no host of the cluster; ended");
  strays_.insert(id);
  provider_->Adopt(id, {saved.agent_pid(), saved.agent_start_ticks()},
                   requests_.DirectoryOf(saved.host()));
  provider_->Release(id, Duration(0), /*force=*/true);
}

proto::SavedState Controller::ToSave() const {
  proto::SavedState state;
  state.set_next_incarnation(activator_.next_incarnation());
  state.set_life(options_.life);
  for (const auto& [host, instance] : instances_) {
    proto::SavedInstance& saved = *state.add_instances();
    saved.set_host(instance->id.host);
    saved.set_incarnation(instance->id.incarnation);
    saved.set_public_key(std::string(instance->key.raw()));
    saved.set_address(AddressBytes(instance->address));
    if (const std::optional<Endpoint> endpoint = tunnel_.EndpointOf(instance->key)) {
      saved.set_endpoint(endpoint->ToString());
    }
    saved.set_agent_pid(instance->handle.agent_pid);
    saved.set_agent_start_ticks(instance->handle.agent_start_ticks);
    saved.set_started_unix_nanos(instance->started_unix_nanos);
    *saved.mutable_cause() = ToProto(instance->cause);
    saved.set_releasing(hosts_[host].state == HostState::kReleasing);
    saved.set_provided(instance->provided);
    saved.set_not_ready(!instance->status.not_ready().empty());
    saved.set_renews(activator_.renews(host));
  }
  for (const auto& [host, cause] : activator_.ToStart()) {
    proto::SavedStart& start = *state.add_to_start();
    start.set_host(hosts_[host].name);
    *start.mutable_cause() = ToProto(cause);
  }
  for (const HostId host : activator_.completed()) state.add_completed(hosts_[host].name);
  guests_.ForEach([&](HostId host) {
    proto::HostName& guest = *state.add_guests();
    guest.set_name(hosts_[host].name);
    guest.set_address(AddressBytes(hosts_[host].address));
  });
  return state;
}

void Controller::Save() {
  dirty_ = false;
  if (!save_) return;
  const Instant begin = loop_.clock().Now();
  save_(ToSave());
  const Instant end = loop_.clock().Now();
  save_not_before_ = end + kSaveQuiet * (end - begin);
}

}  // namespace im::orchestrator
