// StartRequests: writes the request that an instance is started with.

#ifndef IM_ORCHESTRATOR_START_REQUESTS_H_
#define IM_ORCHESTRATOR_START_REQUESTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "base/ip_address.h"
#include "base/status.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/instance.h"
#include "proto/agent.pb.h"
#include "tunnel/keys.h"

namespace im::orchestrator {

// Largest inner packet that passes everywhere, in bytes: 1500 less what the
// tunnel adds over IPv6. Of the gateway's own stack, and towards foreign peers.
inline constexpr uint32_t kInnerMtu = 1420;

class StartRequests {
 public:
  // `spec` must outlive it. `state_dir` is absolute.
  // `criu`: the path of what takes processes to disk.
  StartRequests(const ClusterSpec& spec, std::string state_dir,
                const tunnel::PublicKey& gateway_key, const Endpoint& gateway_endpoint,
                std::string criu = "");

  // The directory of a host's instances.
  std::string DirectoryOf(absl::string_view host) const;
  std::string LogPathOf(absl::string_view host) const;

  // For a host of the spec. The name table is left out: see name_table().
  absl::StatusOr<proto::StartRequest> ForHost(const HostSpec& host, const Instance& instance,
                                              const tunnel::PrivateKey& key) const;
  // Of the processes that a start of this host would have (checkpoint_store.h).
  absl::StatusOr<std::string> FingerprintOf(const HostSpec& host) const;
  // For `im run`: without a program, with the name table and its own name.
  proto::StartRequest ForGuest(const Instance& instance, const tunnel::PrivateKey& key) const;

  // Serialized NameTable of the spec's hosts; one copy for all starts.
  absl::string_view name_table() const { return name_table_; }

 private:
  struct GroupAddresses {
    uint32_t heartbeat_bytes_per_s = 0;
    std::vector<std::string> addresses;  // as the messages hold them
  };
  void FillCheckpointing(const HostSpec& host, proto::StartRequest& request) const;
  void FillGroup(const HostSpec& host, proto::StartRequest& request) const;
  void FillCommon(const Instance& instance, const tunnel::PrivateKey& key,
                  proto::StartRequest& request) const;

  const ClusterSpec& spec_;
  const std::string state_dir_;
  const std::string criu_;
  const tunnel::PublicKey gateway_key_;
  const Endpoint gateway_endpoint_;
  std::string name_table_;
  // Of those that are suspended together, by name.
  absl::flat_hash_map<std::string, GroupAddresses> groups_;
};

// 4 or 16 bytes in network order, as the messages hold them.
std::string AddressBytes(const IpAddress& address);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_START_REQUESTS_H_
