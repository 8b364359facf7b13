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
  places_[PlaceOf(flow)].push_back({flow, KeptPacket(packet, view)});
  ++packets_;
  bytes_ += view.total_size;
}

void UnlistenedPackets::Forget(const FlowKey& flow) {
  if (syns_.erase(flow) == 0) return;
  const auto place = places_.find(PlaceOf(flow));
  const auto kept = std::find_if(place->second.begin(), place->second.end(),
                                 [&](const Kept& k) { return k.flow == flow; });
  --packets_;
  bytes_ -= kept->packet.bytes.size();
  place->second.erase(kept);
  if (place->second.empty()) places_.erase(place);
}

void UnlistenedPackets::MoveInto(PacketBatch& batch, const std::vector<Kept>& kept) {
  for (const Kept& k : kept) {
    batch.AppendCopy(k.packet.AsPacket());
    syns_.erase(k.flow);
    --packets_;
    bytes_ -= k.packet.bytes.size();
  }
}

PacketBatch UnlistenedPackets::Take(const Place& place) {
  PacketBatch batch;
  const auto at = places_.find(place);
  if (at == places_.end()) return batch;
  MoveInto(batch, at->second);
  places_.erase(at);
  return batch;
}

PacketBatch UnlistenedPackets::TakeAll() {
  PacketBatch batch;
  for (const auto& [place, kept] : places_) MoveInto(batch, kept);
  places_.clear();
  return batch;
}

}  // namespace im::agent
