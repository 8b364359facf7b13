#include "orchestrator/agent/unlistened_packets.h"

#include <algorithm>

namespace im::agent {

void UnlistenedPackets::Keep(const Packet& packet, const IpView& view) {
  const FlowKey flow = view.flow();
  if (view.is_tcp()) {
    const auto known = syns_.find(flow);
    if (known != syns_.end()) {
      if (known->second == view.tcp_sequence) return;  // the same again
      Forget(flow);                                    // a new attempt from the same port
    }
  }
  if (packets_ >= kPacketsMax || bytes_ + view.total_size > kBytesMax) return;
  if (view.is_tcp()) syns_[flow] = view.tcp_sequence;
  ports_[{view.protocol, view.destination_port}].push_back({flow, KeptPacket(packet, view)});
  ++packets_;
  bytes_ += view.total_size;
}

void UnlistenedPackets::Forget(const FlowKey& flow) {
  if (syns_.erase(flow) == 0) return;
  const auto port = ports_.find({flow.protocol, flow.destination_port});
  const auto kept = std::find_if(port->second.begin(), port->second.end(),
                                 [&](const Kept& k) { return k.flow == flow; });
  --packets_;
  bytes_ -= kept->packet.bytes.size();
  port->second.erase(kept);
  if (port->second.empty()) ports_.erase(port);
}

void UnlistenedPackets::MoveInto(PacketBatch& batch, const std::vector<Kept>& kept) {
  for (const Kept& k : kept) {
    batch.AppendCopy(k.packet.AsPacket());
    syns_.erase(k.flow);
    --packets_;
    bytes_ -= k.packet.bytes.size();
  }
}

PacketBatch UnlistenedPackets::Take(uint8_t protocol, uint16_t port) {
  PacketBatch batch;
  const auto at = ports_.find({protocol, port});
  if (at == ports_.end()) return batch;
  MoveInto(batch, at->second);
  ports_.erase(at);
  return batch;
}

PacketBatch UnlistenedPackets::TakeAll() {
  PacketBatch batch;
  for (const auto& [port, kept] : ports_) MoveInto(batch, kept);
  ports_.clear();
  return batch;
}

}  // namespace im::agent
