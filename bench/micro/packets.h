// Packets for the micro-benchmarks: a super-packet of TCP as a TUN device gives
// it, and the trains that it is cut into.

#ifndef IM_BENCH_MICRO_PACKETS_H_
#define IM_BENCH_MICRO_PACKETS_H_

#include <cstdint>
#include <vector>

#include "base/ip_build.h"
#include "base/packet.h"

namespace im::bench {

inline constexpr size_t kSegmentBytes = 1380;  // of payload: MTU 1420
inline constexpr size_t kSegments = 45;        // as many as UDP_SEGMENT takes at that size

inline std::vector<uint8_t> TcpPacket(size_t payload_bytes, uint32_t sequence = 1) {
  const std::vector<uint8_t> payload(payload_bytes, 'x');
  return BuildTcp({IpAddress::V4(0x0a4d0001), 40'000}, {IpAddress::V4(0x0a4d0002), 6379},
                  {.sequence = sequence, .acknowledgment = 1, .flags = kTcpAck, .window = 64'000},
                  payload);
}

// A view of `bytes`, which stands for segments of kSegmentBytes.
inline Packet SuperPacket(std::vector<uint8_t>& bytes) {
  return {.data = bytes.data(),
          .size = static_cast<uint32_t>(bytes.size()),
          .segment_size = kSegmentBytes};
}

// The packets that one such super-packet is cut into.
inline std::vector<std::vector<uint8_t>> Train() {
  std::vector<std::vector<uint8_t>> train;
  for (size_t i = 0; i < kSegments; ++i) {
    train.push_back(TcpPacket(kSegmentBytes, static_cast<uint32_t>(1 + i * kSegmentBytes)));
  }
  return train;
}

}  // namespace im::bench

#endif  // IM_BENCH_MICRO_PACKETS_H_
