#include "orchestrator/start_requests.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "orchestrator/checkpoint_store.h"
#include "orchestrator/host_program.h"

namespace im::orchestrator {
namespace {

// Agents are on this machine, and nobody else need reach them: a stock peer's packets come
// by way of the gateway.
constexpr char kAgentListenAddress[] = "127.0.0.1";

}  // namespace

std::string AddressBytes(const IpAddress& address) {
  const std::span<const uint8_t> bytes = address.bytes();
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

StartRequests::StartRequests(const ClusterSpec& spec, std::string state_dir,
                             const tunnel::PublicKey& gateway_key,
                             const Endpoint& gateway_endpoint, std::string criu)
    : spec_(spec),
      state_dir_(std::move(state_dir)),
      criu_(std::move(criu)),
      gateway_key_(gateway_key),
      gateway_endpoint_(gateway_endpoint) {
  proto::NameTable table;
  FillNameTable(spec, table);
  name_table_ = table.SerializeAsString();
  for (const GroupSpec& group : spec.groups) {
    if (!group.suspend_together || group.hosts.size() < 2) continue;
    groups_[group.name].heartbeat_bytes_per_s = group.heartbeat_bytes_per_s;
  }
  for (const HostSpec& host : spec.hosts) {
    const auto group = groups_.find(host.group);
    if (group != groups_.end()) group->second.addresses.push_back(AddressBytes(host.address));
  }
}

std::string StartRequests::DirectoryOf(absl::string_view host) const {
  return absl::StrCat(state_dir_, "/hosts/", host);
}

std::string StartRequests::LogPathOf(absl::string_view host) const {
  return absl::StrCat(DirectoryOf(host), "/log");
}

void StartRequests::FillCommon(const Instance& instance, const tunnel::PrivateKey& key,
                               proto::StartRequest& request) const {
  request.set_incarnation(instance.id.incarnation);
  request.set_private_key(std::string(key.raw()));
  request.set_gateway_public_key(std::string(gateway_key_.raw()));
  request.set_gateway_endpoint(gateway_endpoint_.ToString());
  request.set_listen_address(kAgentListenAddress);
  request.set_gateway_address(AddressBytes(spec_.gateway));
  request.set_mtu(spec_.mtu);
  request.set_offload(true);
  request.set_instance_dir(instance.directory);
}

absl::StatusOr<proto::StartRequest> StartRequests::ForHost(const HostSpec& host,
                                                           const Instance& instance,
                                                           const tunnel::PrivateKey& key) const {
  proto::StartRequest request;
  IM_RETURN_IF_ERROR(FillStartRequest(spec_, host, request));
  FillCommon(instance, key, request);
  FillGroup(host, request);
  FillCheckpointing(host, request);
  request.set_log_path(LogPathOf(host.name));
  // To be renewed in a moment without any (activator_lifetime.cc).
  request.mutable_idle()->set_tell_connections(host.max_lifetime.has_value() &&
                                               host.on_release == OnRelease::kTerminate);
  return request;
}

void StartRequests::FillCheckpointing(const HostSpec& host, proto::StartRequest& request) const {
  if (host.on_release != OnRelease::kCheckpoint) return;
  proto::Checkpointing& checkpointing = *request.mutable_checkpointing();
  checkpointing.set_directory(absl::StrCat(spec_.checkpoints_directory, "/", host.name));
  checkpointing.set_criu(criu_);
  checkpointing.set_fingerprint(CheckpointFingerprint(request));
}

absl::StatusOr<std::string> StartRequests::FingerprintOf(const HostSpec& host) const {
  proto::StartRequest request;
  IM_RETURN_IF_ERROR(FillStartRequest(spec_, host, request));
  request.set_gateway_address(AddressBytes(spec_.gateway));
  return CheckpointFingerprint(request);
}

void StartRequests::FillGroup(const HostSpec& host, proto::StartRequest& request) const {
  const auto it = groups_.find(host.group);
  if (it == groups_.end()) return;
  proto::Group& group = *request.mutable_group();
  group.set_name(host.group);
  group.set_heartbeat_bytes_per_s(it->second.heartbeat_bytes_per_s);
  // Heartbeats are timers.
  request.mutable_idle()->set_timers(proto::IdlePolicy::TIMERS_IGNORE);
  for (const std::string& address : it->second.addresses)
    if (address != request.address()) group.add_fellows(address);
}

proto::StartRequest StartRequests::ForGuest(const Instance& instance,
                                            const tunnel::PrivateKey& key) const {
  proto::StartRequest request;
  request.set_cluster(spec_.name);
  request.set_host(instance.id.host);
  request.set_hostname(instance.id.host);
  request.set_address(AddressBytes(instance.address));
  request.set_prefix_length(static_cast<uint32_t>(spec_.network.length()));
  if (spec_.dual_stack.on())
    request.set_network6(AddressBytes(spec_.dual_stack.network().address()));
  request.set_domain(spec_.domain);
  request.mutable_idle()->set_mode(proto::IdlePolicy::NEVER);
  const auto timeout = std::chrono::milliseconds(std::chrono::seconds(30));
  request.set_start_timeout_ms(static_cast<uint32_t>(timeout.count()));
  FillCommon(instance, key, request);
  // Messages that are joined end to end are merged: one more host.
  proto::NameTable own;
  proto::HostName& name = *own.add_hosts();
  name.set_name(instance.id.host);
  name.set_address(AddressBytes(instance.address));
  request.set_name_table(absl::StrCat(name_table_, own.SerializeAsString()));
  return request;
}

}  // namespace im::orchestrator
