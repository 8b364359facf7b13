// ConnectionsOnDisk: what a checkpointed host's kernel would say to keepalives.
//
// A peer that has heard nothing for a while asks whether the other end still has
// the connection: a segment just before what was received (RFC 1122 4.2.3.6). The
// answer repeats what was acknowledged, and needs nothing but the state that the
// connection went to disk with. So it is given here, and the host stays there:
//
//   a keepalive, or a probe of the same form          answered
//   an acknowledgment of what is acknowledged already  nothing to do
//   all else: data, FIN, SYN, RST, news                for the host
//
// The timestamp of an answer (RFC 7323) is that of the dump: the restored host goes
// on from there, and its peer takes none that is older.

#ifndef IM_ORCHESTRATOR_CONNECTIONS_ON_DISK_H_
#define IM_ORCHESTRATOR_CONNECTIONS_ON_DISK_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/dual_stack.h"
#include "base/ip_header.h"
#include "base/packet.h"
#include "orchestrator/host.h"
#include "proto/agent.pb.h"

namespace im::orchestrator {

class ConnectionsOnDisk {
 public:
  // Manifests name hosts by their IPv4 addresses, and peers by those that they have used.
  explicit ConnectionsOnDisk(const DualStack& dual_stack = {}) : dual_stack_(dual_stack) {}

  void Set(HostId host, const proto::CheckpointManifest& manifest);
  void Forget(HostId host) { hosts_.erase(host); }

  enum class Verdict : uint8_t { kForHost, kNothing, kAnswer };
  // `view` is of `packet`, which is for `host`. kAnswer: `answer` is a packet to its
  // source.
  Verdict OnPacket(HostId host, const Packet& packet, const IpView& view,
                   std::vector<uint8_t>& answer);

  uint64_t answers() const { return answers_; }

 private:
  struct Connection {
    uint32_t receive_next = 0;
    uint32_t send_next = 0;
    uint16_t window = 0;
    bool waits = false;  // for acknowledgments, or for room: these are for the host
    bool has_timestamp = false;
    uint32_t timestamp = 0;
  };
  // By the packets of their peers.
  using Connections = absl::flat_hash_map<FlowKey, Connection>;

  const DualStack dual_stack_;
  absl::flat_hash_map<HostId, Connections> hosts_;
  uint64_t answers_ = 0;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_CONNECTIONS_ON_DISK_H_
