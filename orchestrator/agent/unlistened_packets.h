// UnlistenedPackets: what came for ports that the program has not opened yet.
//
// Where the agent itself knows which ports are open, a SYN or datagram that comes
// too early is simply kept, and given to the stack in the moment in which its
// address and port are opened, in the order in which it came. It is given to the stack, too,
// when the program has had its time, or is gone: the stack then refuses it.
//
// Of each connection one SYN is kept, the newest; callers repeat theirs.

#ifndef IM_ORCHESTRATOR_AGENT_UNLISTENED_PACKETS_H_
#define IM_ORCHESTRATOR_AGENT_UNLISTENED_PACKETS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/ip_address.h"
#include "base/ip_header.h"
#include "base/packet.h"
#include "orchestrator/agent/kept_packet.h"

namespace im::agent {

class UnlistenedPackets {
 public:
  // As of EarlyPackets: some thousand callers may wait for one start. What comes
  // beyond is dropped; a SYN comes again after a second.
  static constexpr size_t kPacketsMax = 4096;
  static constexpr size_t kBytesMax = 1 << 20;

  // A SYN or a datagram. Precondition: `view` is of `packet`, no fragment.
  void Keep(const Packet& packet, const IpView& view);
  // The caller of a connection gave up.
  void Forget(const FlowKey& flow);
  // Protocol, and where to.
  using Place = std::pair<uint8_t, Endpoint>;
  bool Has(const Place& place) const { return places_.contains(place); }
  // What waits for it, and is kept no longer.
  PacketBatch Take(const Place& place);
  PacketBatch TakeAll();
  size_t held() const { return packets_; }

 private:
  struct Kept {
    FlowKey flow;
    KeptPacket packet;
  };

  void MoveInto(PacketBatch& batch, const std::vector<Kept>& kept);

  static Place PlaceOf(const FlowKey& flow) {
    return {flow.protocol, {flow.destination, flow.destination_port}};
  }

  std::map<Place, std::vector<Kept>> places_;
  absl::flat_hash_map<FlowKey, uint32_t> syns_;  // their sequence numbers
  size_t packets_ = 0;
  size_t bytes_ = 0;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_UNLISTENED_PACKETS_H_
