// RFC 791, 792 (IPv4, ICMP), RFC 8200, 4443 (IPv6, ICMPv6), RFC 9293 (TCP),
// RFC 5461 (what a TCP makes of ICMP errors).

#include "netstack/input_filter.h"

#include "base/big_endian.h"
#include "base/checksum.h"

namespace im::netstack {
namespace {

using Verdict = FilterResult::Verdict;

constexpr size_t kIpv4Header = 20;
constexpr size_t kIpv6Header = 40;
constexpr size_t kFragmentHeader = 8;
constexpr size_t kTcpHeader = 20;
constexpr size_t kIcmpHeader = 8;
constexpr uint8_t kIpv6Fragment = 44;

constexpr uint8_t kIcmpUnreachable = 3;
constexpr uint8_t kIcmpV6Unreachable = 1;

constexpr uint8_t kTcpOptionEnd = 0;
constexpr uint8_t kTcpOptionNop = 1;
constexpr uint8_t kTcpOptionMss = 2;
constexpr uint8_t kTcpOptionWindowScale = 3;
constexpr uint8_t kTcpOptionSackPermitted = 4;
constexpr uint8_t kTcpOptionTimestamps = 8;

bool IsUnicastSource(const IpAddress& address) {
  if (address.is_unspecified() || address.is_multicast() || address.is_loopback()) return false;
  return !address.is_v4() || (address.v4() >> 24) != 0;  // RFC 1122 3.2.1.3 (a), (b)
}

// A datagram's piece of `size` bytes at `offset` that can be part of one.
bool FragmentIsSane(size_t offset, size_t size, bool more) {
  if (size == 0 || offset + size > kPacketBytesMax) return false;
  return !more || size % 8 == 0;
}

bool Ipv4IsSane(std::span<const uint8_t> bytes, const IpView& view) {
  if ((bytes[0] & 0x0f) * 4 != kIpv4Header) return false;
  if (!view.fragment) return true;
  const uint16_t field = LoadBig16(&bytes[6]);
  return FragmentIsSane((field & 0x1fff) * size_t{8}, view.total_size - kIpv4Header,
                        (field & 0x2000) != 0);
}

bool Ipv6IsSane(std::span<const uint8_t> bytes, const IpView& view) {
  if (bytes[6] == view.protocol) return true;
  // ParseIp walked the chain: the fragment header lies within.
  if (bytes[6] != kIpv6Fragment || bytes[kIpv6Header] != view.protocol) return false;
  const uint16_t field = LoadBig16(&bytes[kIpv6Header + 2]);
  return FragmentIsSane(field & 0xfff8, view.total_size - kIpv6Header - kFragmentHeader,
                        (field & 1) != 0);
}

bool TcpIsSane(std::span<const uint8_t> bytes, const IpView& view) {
  if (view.fragment) return false;
  if (view.source_port == 0 || view.destination_port == 0) return false;
  const uint8_t flags = view.tcp_flags;
  if ((flags & (kTcpSyn | kTcpRst | kTcpAck)) == 0) return false;
  if ((flags & kTcpSyn) != 0) {
    if ((flags & (kTcpFin | kTcpRst)) != 0) return false;
    const size_t begin = view.transport_offset + kTcpHeader;
    return TcpOptionsAreSound(bytes.subspan(begin, view.payload_offset - begin));
  }
  return true;
}

bool UdpIsSane(std::span<const uint8_t> bytes, const IpView& view) {
  if (view.fragment) return true;
  // lwIP takes the length of the IP header: both must agree.
  return view.destination_port != 0 &&
         LoadBig16(&bytes[view.transport_offset + 4]) == view.total_size - view.transport_offset;
}

bool ChecksumsAreRight(const Packet& packet, const IpView& view) {
  if (packet.checksum_valid) return true;
  if (!view.v6 && FoldSum(SumBytes(packet.bytes().first(kIpv4Header))) != 0xffff) return false;
  // A partial checksum was not on any wire yet.
  if (packet.checksum_partial || view.fragment) return true;
  if (view.protocol != kProtocolTcp && view.protocol != kProtocolUdp) return true;  // lwIP looks
  return TransportChecksumIsRight(packet.bytes(), view);
}

FilterResult Drop(DropReason reason, const IpView& view) {
  return {Verdict::kDrop, reason, view};
}

}  // namespace

FilterResult FilterInput(const Packet& packet, const IpAddress& own) {
  const std::span<const uint8_t> bytes = packet.bytes();
  const std::optional<IpView> parsed = ParseIp(bytes);
  if (!parsed.has_value()) return {};
  const IpView& view = *parsed;
  if (view.destination != own) return Drop(DropReason::kNoRoute, view);
  if (view.source == own || !IsUnicastSource(view.source)) return Drop(DropReason::kSpoofed, view);
  if (!(view.v6 ? Ipv6IsSane(bytes, view) : Ipv4IsSane(bytes, view)))
    return Drop(DropReason::kMalformed, view);
  if (!ChecksumsAreRight(packet, view)) return Drop(DropReason::kMalformed, view);

  switch (view.protocol) {
    case kProtocolTcp:
      if (!TcpIsSane(bytes, view)) return Drop(DropReason::kMalformed, view);
      return {Verdict::kDeliver, {}, view};
    case kProtocolUdp:
      if (!UdpIsSane(bytes, view)) return Drop(DropReason::kMalformed, view);
      return {Verdict::kDeliver, {}, view};
    case kProtocolIcmp:
    case kProtocolIcmpV6:
      if ((view.protocol == kProtocolIcmpV6) != view.v6) return Drop(DropReason::kMalformed, view);
      // A later fragment's type is not known; its first one decides.
      if (view.transport_offset == 0 || view.is_echo_request())
        return {Verdict::kDeliver, {}, view};
      if (!view.fragment && view.icmp_type == (view.v6 ? kIcmpV6Unreachable : kIcmpUnreachable))
        return {Verdict::kIcmpError, {}, view};
      return Drop(DropReason::kMalformed, view);
    default:
      return Drop(DropReason::kMalformed, view);
  }
}

std::optional<Unreachable> ParseUnreachable(std::span<const uint8_t> packet, const IpView& view) {
  // Codes: RFC 792; RFC 1122 3.2.2.1 (6–12); RFC 1812 5.2.7.1 (13); RFC 4443 3.1.
  Unreachable result;
  if (view.v6) {
    result.port = view.icmp_code == 4;
  } else {
    if (view.icmp_code == 4) return std::nullopt;  // fragmentation needed
    result.port = view.icmp_code == 2 || view.icmp_code == 3;
  }

  // The packet that caused it, cut off anywhere behind the first 8 bytes of
  // its transport header.
  const size_t begin = view.transport_offset + kIcmpHeader;
  if (view.total_size < begin) return std::nullopt;
  const std::span<const uint8_t> inner = packet.first(view.total_size).subspan(begin);
  size_t transport;
  if (view.v6) {
    if (inner.size() < kIpv6Header + 8 || inner[0] >> 4 != 6) return std::nullopt;
    result.flow.source = IpAddress::FromBytes(inner.subspan(8, 16));
    result.flow.destination = IpAddress::FromBytes(inner.subspan(24, 16));
    result.flow.protocol = inner[6];
    transport = kIpv6Header;
  } else {
    if (inner.size() < kIpv4Header + 8 || inner[0] >> 4 != 4) return std::nullopt;
    transport = (inner[0] & 0x0f) * size_t{4};
    if (transport < kIpv4Header || inner.size() < transport + 8) return std::nullopt;
    if ((LoadBig16(&inner[6]) & 0x1fff) != 0) return std::nullopt;  // not the first fragment
    result.flow.source = IpAddress::FromBytes(inner.subspan(12, 4));
    result.flow.destination = IpAddress::FromBytes(inner.subspan(16, 4));
    result.flow.protocol = inner[9];
  }
  if (result.flow.source != view.destination) return std::nullopt;  // not ours
  if (result.flow.protocol != kProtocolTcp && result.flow.protocol != kProtocolUdp)
    return std::nullopt;
  result.flow.source_port = LoadBig16(&inner[transport]);
  result.flow.destination_port = LoadBig16(&inner[transport + 2]);
  if (result.flow.protocol == kProtocolTcp) result.tcp_sequence = LoadBig32(&inner[transport + 4]);
  return result;
}

bool TcpOptionsAreSound(std::span<const uint8_t> options) {
  while (!options.empty()) {
    const uint8_t kind = options[0];
    if (kind == kTcpOptionEnd) return true;
    if (kind == kTcpOptionNop) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || options[1] < 2 || options[1] > options.size()) return false;
    const size_t size = options[1];
    if ((kind == kTcpOptionMss && size != 4) || (kind == kTcpOptionWindowScale && size != 3) ||
        (kind == kTcpOptionSackPermitted && size != 2) ||
        (kind == kTcpOptionTimestamps && size != 10))
      return false;
    options = options.subspan(size);
  }
  return true;
}

}  // namespace im::netstack
