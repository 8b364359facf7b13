#include "tunnel/ecn.h"

#include "base/checksum.h"

namespace im::tunnel {

uint8_t EcnOf(std::span<const uint8_t> packet) {
  if (packet[0] >> 4 == 6) return packet[1] >> 4 & 3;
  return packet[1] & 3;
}

bool ApplyOuterEcn(std::span<uint8_t> packet, uint8_t outer) {
  const uint8_t inner = EcnOf(packet);
  // ECT(1) outside is taken over as well: it may be a mark of lower severity.
  const bool mark = outer == kEcnCongested || (outer == 1 && inner == 2);
  if (!mark || inner == outer) return true;
  if (inner == kEcnNotCapable) return outer != kEcnCongested;
  if (packet[0] >> 4 == 6) {
    packet[1] = static_cast<uint8_t>((packet[1] & ~0x30) | outer << 4);
  } else {
    packet[1] = static_cast<uint8_t>((packet[1] & ~3) | outer);
    SetIpv4HeaderChecksum(packet);
  }
  return true;
}

}  // namespace im::tunnel
