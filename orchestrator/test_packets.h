// Packets for the orchestrator's tests.

#ifndef IM_ORCHESTRATOR_TEST_PACKETS_H_
#define IM_ORCHESTRATOR_TEST_PACKETS_H_

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/ip_build.h"
#include "base/ip_header.h"
#include "base/packet.h"

namespace im::orchestrator {

// Owns the bytes that `packet` views.
class TestPacket {
 public:
  explicit TestPacket(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {
    packet_.data = bytes_.data();
    packet_.size = static_cast<uint32_t>(bytes_.size());
    const std::optional<IpView> view = ParseIp(bytes_);
    IM_CHECK(view.has_value());
    view_ = *view;
  }
  TestPacket(const TestPacket&) = delete;
  TestPacket& operator=(const TestPacket&) = delete;

  Packet& packet() { return packet_; }
  const IpView& view() const { return view_; }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
  Packet packet_;
  IpView view_;
};

inline IpAddress TestAddress(uint32_t n) { return IpAddress::V4(0x0a4d0000u + n); }

inline std::vector<uint8_t> Tcp(uint32_t from, uint16_t from_port, uint32_t to, uint16_t to_port,
                                uint8_t flags, uint32_t sequence, size_t payload_bytes = 0) {
  const std::vector<uint8_t> payload(payload_bytes, 'x');
  return BuildTcp({TestAddress(from), from_port}, {TestAddress(to), to_port},
                  {.sequence = sequence, .flags = flags, .window = 64'000}, payload);
}

inline std::vector<uint8_t> Syn(uint16_t from_port, uint32_t to, uint32_t isn = 1) {
  return Tcp(200, from_port, to, 6379, kTcpSyn, isn);
}

inline std::vector<uint8_t> Udp(uint16_t from_port, uint32_t to, size_t payload_bytes = 4) {
  const std::vector<uint8_t> payload(payload_bytes, 'u');
  return BuildUdp({TestAddress(200), from_port}, {TestAddress(to), 53}, payload);
}

// A datagram with a number of its own, which stands in the payload.
inline std::vector<uint8_t> NumberedUdp(uint32_t to, uint32_t number) {
  return BuildUdp({TestAddress(200), static_cast<uint16_t>(number)}, {TestAddress(to), 53},
                  std::span(reinterpret_cast<const uint8_t*>(&number), sizeof(number)));
}

// That number, or a TCP segment's sequence number.
inline uint32_t NumberOf(const Packet& packet) {
  const std::optional<IpView> view = ParseIp(packet.bytes());
  if (view->is_tcp()) return view->tcp_sequence;
  uint32_t number;
  memcpy(&number, packet.data + view->payload_offset, sizeof(number));
  return number;
}

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_TEST_PACKETS_H_
