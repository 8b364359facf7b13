// The sum is taken over words in the machine's own byte order and swapped once
// at the end: a ones' complement sum does not care (RFC 1071 2 (B)).

#include "base/checksum.h"

#include <bit>
#include <cstring>

#include "base/big_endian.h"
#include "base/check.h"

namespace im {
namespace {

constexpr size_t kIcmpChecksumOffset = 2;

uint64_t Load64(const uint8_t* p) {
  uint64_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

// Ones' complement addition: the carry comes back in.
uint64_t AddCarry(uint64_t a, uint64_t b) {
  uint64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? sum + 1 : sum;
}

#if defined(__x86_64__)

const bool has_avx2 = __builtin_cpu_supports("avx2");
// From there on the wide sum is the faster one, in bytes.
constexpr size_t kWideBytesMin = 128;

// The sum of the 32-bit words of `blocks` times 64 bytes. Lanes of 64 bits take
// the carries: no packet is long enough to fill one.
__attribute__((target("avx2"))) uint64_t SumBlocks(const uint8_t* p, size_t blocks) {
  using Lanes = uint64_t __attribute__((vector_size(32)));
  constexpr uint64_t kLow = 0xffffffff;
  const Lanes low = {kLow, kLow, kLow, kLow};
  Lanes a = {}, b = {}, c = {}, d = {};
  for (; blocks > 0; --blocks, p += 64) {
    Lanes x, y;
    std::memcpy(&x, p, sizeof(x));
    std::memcpy(&y, p + sizeof(x), sizeof(y));
    a += x & low;
    b += x >> 32;
    c += y & low;
    d += y >> 32;
  }
  a += b + c + d;
  return a[0] + a[1] + a[2] + a[3];
}

#endif

// The offset of the checksum in the transport header; 0 if there is none.
size_t ChecksumOffset(const IpView& view) {
  if (view.transport_offset == 0 || view.fragment) return 0;
  if (view.is_tcp()) return kTcpChecksumOffset;
  if (view.is_udp()) return kUdpChecksumOffset;
  const uint8_t icmp = view.v6 ? kProtocolIcmpV6 : kProtocolIcmp;
  return view.protocol == icmp ? kIcmpChecksumOffset : 0;
}

// Bytes that the checksum covers. A UDP datagram may be shorter than the IP
// packet around it.
size_t CoveredSize(std::span<const uint8_t> packet, const IpView& view) {
  if (view.is_udp()) return LoadBig16(&packet[view.transport_offset + 4]);
  return view.total_size - view.transport_offset;
}

uint64_t TransportSum(std::span<const uint8_t> packet, const IpView& view) {
  const size_t size = CoveredSize(packet, view);
  const bool pseudo_header = view.protocol != kProtocolIcmp;
  const uint64_t sum = pseudo_header ? PseudoHeaderSum(view.source, view.destination, view.protocol,
                                                       static_cast<uint32_t>(size))
                                     : 0;
  return SumBytes(packet.subspan(view.transport_offset, size), sum);
}

}  // namespace

uint64_t SumBytes(std::span<const uint8_t> bytes, uint64_t sum) {
  const uint8_t* p = bytes.data();
  size_t left = bytes.size();
  uint64_t own = 0;
#if defined(__x86_64__)
  if (left >= kWideBytesMin && has_avx2) {
    own = SumBlocks(p, left / 64);
    p += left / 64 * 64;
    left %= 64;
  }
#endif
  // Four sums that do not wait for one another.
  uint64_t a = 0, b = 0, c = 0, d = 0;
  for (; left >= 32; p += 32, left -= 32) {
    a = AddCarry(a, Load64(p));
    b = AddCarry(b, Load64(p + 8));
    c = AddCarry(c, Load64(p + 16));
    d = AddCarry(d, Load64(p + 24));
  }
  own = AddCarry(own, AddCarry(AddCarry(a, b), AddCarry(c, d)));
  for (; left >= 8; p += 8, left -= 8) own = AddCarry(own, Load64(p));
  if (left > 0) {
    uint64_t rest = 0;  // an odd end is padded with zeros
    std::memcpy(&rest, p, left);
    own = AddCarry(own, rest);
  }
  const uint16_t folded = FoldSum(own);
  return sum + (std::endian::native == std::endian::little ? __builtin_bswap16(folded) : folded);
}

uint16_t FoldSum(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);  // below 2^18
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

uint64_t PseudoHeaderSum(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                         uint32_t transport_size) {
  uint64_t sum = uint64_t{protocol} + (transport_size >> 16) + (transport_size & 0xffff);
  sum = SumBytes(source.bytes(), sum);
  return SumBytes(destination.bytes(), sum);
}

void SetIpv4HeaderChecksum(std::span<uint8_t> packet) {
  const size_t header_size = (packet[0] & 0x0f) * size_t{4};
  IM_CHECK(header_size >= 20 && header_size <= packet.size());
  StoreBig16(&packet[10], 0);
  StoreBig16(&packet[10], ~FoldSum(SumBytes(packet.first(header_size))));
}

void SetTransportChecksum(std::span<uint8_t> packet, const IpView& view) {
  const size_t offset = ChecksumOffset(view);
  if (offset == 0) return;
  uint8_t* field = &packet[view.transport_offset + offset];
  StoreBig16(field, 0);
  uint16_t checksum = ~FoldSum(TransportSum(packet, view));
  // 0 in UDP's field means that there is none (RFC 768).
  if (checksum == 0 && view.is_udp()) checksum = 0xffff;
  StoreBig16(field, checksum);
}

bool TransportChecksumIsRight(std::span<const uint8_t> packet, const IpView& view) {
  const size_t offset = ChecksumOffset(view);
  if (offset == 0) return true;  // nothing that could be wrong, or be judged
  if (view.is_udp() && LoadBig16(&packet[view.transport_offset + offset]) == 0) return !view.v6;
  return FoldSum(TransportSum(packet, view)) == 0xffff;
}

void CompleteChecksum(Packet& packet) {
  if (!packet.checksum_partial) return;
  packet.checksum_partial = false;
  const auto view = ParseIp(packet.bytes());
  if (!view) return;
  // The pseudo-header's sum is made anew: the field holds that of the size
  // which the packet had before it was coalesced or cut.
  if (view->is_tcp() || view->is_udp()) SetTransportChecksum(packet.bytes(), *view);
}

}  // namespace im
