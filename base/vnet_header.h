// The header before every packet of a TUN device with IFF_VNET_HDR
// (virtio 1.1, 5.1.6; legacy layout in the machine's byte order).
//
// <linux/virtio_net.h> cannot be included from C++.

#ifndef IM_BASE_VNET_HEADER_H_
#define IM_BASE_VNET_HEADER_H_

#include <cstddef>
#include <cstdint>

namespace im {

struct VnetHeader {
  static constexpr uint8_t kNeedsChecksum = 1;  // flags
  static constexpr uint8_t kDataValid = 2;

  static constexpr uint8_t kGsoNone = 0;  // gso_type
  static constexpr uint8_t kGsoTcpV4 = 1;
  static constexpr uint8_t kGsoTcpV6 = 4;
  static constexpr uint8_t kGsoUdpL4 = 5;
  static constexpr uint8_t kGsoEcn = 0x80;  // with one of the TCP types: CWR is set

  uint8_t flags = 0;
  uint8_t gso_type = kGsoNone;
  uint16_t header_size = 0;      // IP and transport headers, a hint
  uint16_t segment_size = 0;     // payload bytes of a segment
  uint16_t checksum_start = 0;   // the sum runs from here to the end
  uint16_t checksum_offset = 0;  // from checksum_start on
};

inline constexpr size_t kVnetHeaderBytes = 10;
static_assert(sizeof(VnetHeader) == kVnetHeaderBytes);

}  // namespace im

#endif  // IM_BASE_VNET_HEADER_H_
