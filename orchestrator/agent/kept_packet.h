// KeptPacket: a copy of a packet that waits, without the bytes behind its end.

#ifndef IM_ORCHESTRATOR_AGENT_KEPT_PACKET_H_
#define IM_ORCHESTRATOR_AGENT_KEPT_PACKET_H_

#include <cstdint>
#include <vector>

#include "base/ip_header.h"
#include "base/packet.h"

namespace im::agent {

struct KeptPacket {
  // `view` is of `packet`.
  KeptPacket(const Packet& packet, const IpView& view)
      : bytes(packet.data, packet.data + view.total_size),
        segment_size(packet.segment_size),
        checksum_partial(packet.checksum_partial),
        checksum_valid(packet.checksum_valid) {}

  // Refers to this. Only to be copied from.
  Packet AsPacket() const {
    Packet packet;
    packet.data = const_cast<uint8_t*>(bytes.data());
    packet.size = static_cast<uint32_t>(bytes.size());
    packet.segment_size = segment_size;
    packet.checksum_partial = checksum_partial;
    packet.checksum_valid = checksum_valid;
    return packet;
  }

  std::vector<uint8_t> bytes;
  uint16_t segment_size;
  bool checksum_partial;
  bool checksum_valid;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_KEPT_PACKET_H_
