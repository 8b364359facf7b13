// Packets as a checkpoint's manifest has them.

#ifndef IM_ORCHESTRATOR_AGENT_MANIFEST_PACKETS_H_
#define IM_ORCHESTRATOR_AGENT_MANIFEST_PACKETS_H_

#include <cstdint>
#include <string>

#include "base/packet.h"
#include "proto/agent.pb.h"

namespace im::agent {

inline proto::KeptPacket ToKept(const Packet& packet) {
  proto::KeptPacket kept;
  kept.set_packet(packet.data, packet.size);
  kept.set_segment_size(packet.segment_size);
  kept.set_checksum_partial(packet.checksum_partial);
  kept.set_checksum_valid(packet.checksum_valid);
  return kept;
}

inline PacketBatch FromKept(const proto::KeptPacket& kept) {
  PacketBatch batch;
  Packet& packet = batch.Append(kept.packet().size());
  kept.packet().copy(reinterpret_cast<char*>(packet.data), packet.size);
  packet.segment_size = static_cast<uint16_t>(kept.segment_size());
  packet.checksum_partial = kept.checksum_partial();
  packet.checksum_valid = kept.checksum_valid();
  return batch;
}

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_MANIFEST_PACKETS_H_
