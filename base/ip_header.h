// Views over IP packets: parsed once, with every length checked, then read.
//
// RFC 791 (IPv4), RFC 8200 (IPv6), RFC 9293 (TCP), RFC 768 (UDP),
// RFC 792 and RFC 4443 (ICMP).

#ifndef IM_BASE_IP_HEADER_H_
#define IM_BASE_IP_HEADER_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/ip_address.h"

namespace im {

inline constexpr uint8_t kProtocolIcmp = 1;
inline constexpr uint8_t kProtocolTcp = 6;
inline constexpr uint8_t kProtocolUdp = 17;
inline constexpr uint8_t kProtocolIcmpV6 = 58;

inline constexpr uint8_t kTcpFin = 0x01;
inline constexpr uint8_t kTcpSyn = 0x02;
inline constexpr uint8_t kTcpRst = 0x04;
inline constexpr uint8_t kTcpPsh = 0x08;
inline constexpr uint8_t kTcpAck = 0x10;
inline constexpr uint8_t kTcpCwr = 0x80;

// Where in its header a protocol has its checksum.
inline constexpr uint16_t kTcpChecksumOffset = 16;
inline constexpr uint16_t kUdpChecksumOffset = 6;

struct FlowKey {
  IpAddress source;
  IpAddress destination;
  uint16_t source_port = 0;  // 0 where the protocol has none
  uint16_t destination_port = 0;
  uint8_t protocol = 0;

  FlowKey Reversed() const { return {destination, source, destination_port, source_port, protocol}; }
  friend bool operator==(const FlowKey&, const FlowKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const FlowKey& k) {
    return H::combine(std::move(h), k.source, k.destination, k.source_port, k.destination_port,
                      k.protocol);
  }
};

// What is known of a packet after one look. Offsets are from the IP header.
struct IpView {
  bool v6 = false;
  IpAddress source;
  IpAddress destination;
  uint8_t protocol = 0;         // of the transport header, behind IPv6 extensions
  uint8_t ecn = 0;              // RFC 3168, the low two bits of TOS / traffic class
  bool fragment = false;        // any fragment; a later one has no transport header
  uint16_t total_size = 0;      // by the IP header: may be below the buffer's size
  uint16_t transport_offset = 0;
  // TCP and UDP (first fragment) only; 0 otherwise.
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint16_t payload_offset = 0;  // behind TCP's options, UDP's or ICMP's header
  // TCP only.
  uint8_t tcp_flags = 0;
  uint32_t tcp_sequence = 0;
  uint32_t tcp_acknowledgment = 0;
  // ICMP and ICMPv6 only.
  uint8_t icmp_type = 0;
  uint8_t icmp_code = 0;

  uint16_t payload_size() const {
    return total_size > payload_offset ? total_size - payload_offset : 0;
  }
  bool is_tcp() const { return protocol == kProtocolTcp && transport_offset != 0; }
  bool is_udp() const { return protocol == kProtocolUdp && transport_offset != 0; }
  bool is_syn() const {  // without ACK
    return is_tcp() && (tcp_flags & (kTcpSyn | kTcpAck | kTcpRst | kTcpFin)) == kTcpSyn;
  }
  bool is_rst() const { return is_tcp() && (tcp_flags & kTcpRst) != 0; }
  bool is_echo_request() const {
    return (protocol == kProtocolIcmp && icmp_type == 8) ||
           (protocol == kProtocolIcmpV6 && icmp_type == 128);
  }
  FlowKey flow() const {
    return {source, destination, source_port, destination_port, protocol};
  }
};

// nullopt unless the bytes are one whole, well-formed IPv4 or IPv6 packet
// (header lengths, total length, and the transport header of unfragmented TCP,
// UDP and ICMP all lie within the buffer). Trailing bytes are allowed, as
// WireGuard pads. Does not verify checksums.
std::optional<IpView> ParseIp(std::span<const uint8_t> bytes);

// Only the destination / source address and total length, for routing.
struct IpRoute {
  IpAddress source;
  IpAddress destination;
  uint16_t total_size;
};
std::optional<IpRoute> ParseIpRoute(std::span<const uint8_t> bytes);

// "10.77.0.2:43512 > 10.77.0.3:6379 TCP SYN 60 bytes", for logs and tests.
std::string DescribePacket(std::span<const uint8_t> bytes);

}  // namespace im

#endif  // IM_BASE_IP_HEADER_H_
