// An IPv6 packet with a v4-mapped address is refused: such addresses have no
// business on the wire (RFC 4942 2.2), and here they would be taken for the
// IPv4 addresses that AllowedIPs speak of.

#include "base/ip_header.h"

#include "absl/strings/str_cat.h"
#include "base/big_endian.h"

namespace im {
namespace {

constexpr size_t kIpv4HeaderMin = 20;
constexpr size_t kIpv6Header = 40;
constexpr size_t kTcpHeaderMin = 20;
constexpr size_t kUdpHeader = 8;
constexpr size_t kIcmpHeader = 8;

// More than any honest packet carries (RFC 8200 4.1 lists seven); bounds the
// work that one packet can ask for.
constexpr int kExtensionHeadersMax = 12;

// RFC 8200 4 and the IANA registry of IPv6 extension headers.
constexpr uint8_t kHopByHop = 0;
constexpr uint8_t kRouting = 43;
constexpr uint8_t kFragment = 44;
constexpr uint8_t kAuthentication = 51;
constexpr uint8_t kDestinationOptions = 60;
constexpr uint8_t kMobility = 135;
constexpr uint8_t kHip = 139;
constexpr uint8_t kShim6 = 140;

// What lies behind the IP header and its extensions.
struct Transport {
  size_t offset = 0;
  bool later_fragment = false;
};

// The total length, or 0 if the header does not fit.
uint32_t TotalSize4(std::span<const uint8_t> b) {
  if (b.size() < kIpv4HeaderMin) return 0;
  const size_t header = (b[0] & 0x0f) * size_t{4};
  const size_t total = LoadBig16(&b[2]);
  return header >= kIpv4HeaderMin && header <= total && total <= b.size()
             ? static_cast<uint32_t>(total)
             : 0;
}

uint32_t TotalSize6(std::span<const uint8_t> b) {
  if (b.size() < kIpv6Header) return 0;
  const size_t total = kIpv6Header + LoadBig16(&b[4]);
  return total <= b.size() && total <= 65535 ? static_cast<uint32_t>(total) : 0;
}

Transport Parse4(std::span<const uint8_t> b, IpView& view) {
  view.source = IpAddress::FromBytes(b.subspan(12, 4));
  view.destination = IpAddress::FromBytes(b.subspan(16, 4));
  view.protocol = b[9];
  view.ecn = b[1] & 3;
  const uint16_t fragment = LoadBig16(&b[6]);
  view.fragment = (fragment & 0x3fff) != 0;  // more fragments, or an offset
  return {(b[0] & 0x0f) * size_t{4}, (fragment & 0x1fff) != 0};
}

// Walks the extension headers (RFC 8200 4.1); nullopt if they do not fit.
std::optional<Transport> Parse6(std::span<const uint8_t> b, IpView& view) {
  view.v6 = true;
  view.source = IpAddress::FromBytes(b.subspan(8, 16));
  view.destination = IpAddress::FromBytes(b.subspan(24, 16));
  if (view.source.is_v4() || view.destination.is_v4()) return std::nullopt;
  view.ecn = b[1] >> 4 & 3;
  Transport transport{kIpv6Header};
  uint8_t next = b[6];
  for (int i = 0;; ++i) {
    size_t size;
    const size_t left = view.total_size - transport.offset;
    const uint8_t* header = b.data() + transport.offset;
    switch (next) {
      case kHopByHop:
      case kRouting:
      case kDestinationOptions:
      case kMobility:
      case kHip:
      case kShim6:
        if (left < 8) return std::nullopt;
        size = 8 + header[1] * size_t{8};
        break;
      case kAuthentication:
        if (left < 8) return std::nullopt;
        size = 8 + header[1] * size_t{4};
        break;
      case kFragment: {
        if (left < 8) return std::nullopt;
        size = 8;
        const uint16_t offset_and_more = LoadBig16(header + 2);
        transport.later_fragment = (offset_and_more & 0xfff8) != 0;
        // One with neither is whole, and is treated so (RFC 6946).
        view.fragment = transport.later_fragment || (offset_and_more & 1) != 0;
        break;
      }
      default:
        view.protocol = next;
        return transport;
    }
    if (size > left || i == kExtensionHeadersMax) return std::nullopt;
    next = header[0];
    transport.offset += size;
    if (transport.later_fragment) {
      view.protocol = next;
      return transport;
    }
  }
}

// False if a transport header that must be whole is not.
bool ParseTransport(std::span<const uint8_t> b, IpView& view) {
  const size_t offset = view.transport_offset;
  const uint8_t* header = b.data() + offset;
  const size_t left = view.total_size - offset;
  switch (view.protocol) {
    case kProtocolTcp: {
      if (left < kTcpHeaderMin) return false;
      const size_t size = (header[12] >> 4) * size_t{4};
      if (size < kTcpHeaderMin || size > left) return false;
      view.source_port = LoadBig16(header);
      view.destination_port = LoadBig16(header + 2);
      view.tcp_sequence = LoadBig32(header + 4);
      view.tcp_acknowledgment = LoadBig32(header + 8);
      view.tcp_flags = header[13];
      view.payload_offset = static_cast<uint16_t>(offset + size);
      return true;
    }
    case kProtocolUdp: {
      if (left < kUdpHeader) return false;
      const size_t size = LoadBig16(header + 4);
      // The first fragment tells the size of the whole datagram.
      if (size < kUdpHeader || (size > left && !view.fragment)) return false;
      view.source_port = LoadBig16(header);
      view.destination_port = LoadBig16(header + 2);
      view.payload_offset = static_cast<uint16_t>(offset + kUdpHeader);
      return true;
    }
    case kProtocolIcmp:
    case kProtocolIcmpV6:
      if ((view.protocol == kProtocolIcmpV6) != view.v6) return true;  // not ICMP there
      if (left < kIcmpHeader) return false;
      view.icmp_type = header[0];
      view.icmp_code = header[1];
      view.payload_offset = static_cast<uint16_t>(offset + kIcmpHeader);
      return true;
    default:
      return true;
  }
}

std::string FlagNames(uint8_t flags) {
  static constexpr const char* kNames[] = {"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"};
  std::string names;
  for (int i = 0; i < 8; ++i)
    if ((flags >> i & 1) != 0) absl::StrAppend(&names, names.empty() ? "" : "+", kNames[i]);
  return names.empty() ? "no flags" : names;
}

}  // namespace

std::optional<IpView> ParseIp(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return std::nullopt;
  IpView view;
  Transport transport;
  if (bytes[0] >> 4 == 4) {
    view.total_size = static_cast<uint16_t>(TotalSize4(bytes));
    if (view.total_size == 0) return std::nullopt;
    transport = Parse4(bytes, view);
  } else if (bytes[0] >> 4 == 6) {
    view.total_size = static_cast<uint16_t>(TotalSize6(bytes));
    if (view.total_size == 0) return std::nullopt;
    const auto found = Parse6(bytes, view);
    if (!found) return std::nullopt;
    transport = *found;
  } else {
    return std::nullopt;
  }
  view.payload_offset = static_cast<uint16_t>(transport.offset);
  if (transport.later_fragment) return view;
  view.transport_offset = static_cast<uint16_t>(transport.offset);
  if (ParseTransport(bytes, view)) return view;
  if (!view.fragment) return std::nullopt;
  // A first fragment too short for its transport header: allowed, but opaque.
  view.transport_offset = 0;
  return view;
}

std::optional<IpRoute> ParseIpRoute(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return std::nullopt;
  if (bytes[0] >> 4 == 4) {
    const uint32_t total = TotalSize4(bytes);
    if (total == 0) return std::nullopt;
    return IpRoute{IpAddress::FromBytes(bytes.subspan(12, 4)),
                   IpAddress::FromBytes(bytes.subspan(16, 4)), static_cast<uint16_t>(total)};
  }
  if (bytes[0] >> 4 == 6) {
    const uint32_t total = TotalSize6(bytes);
    if (total == 0) return std::nullopt;
    IpRoute route{IpAddress::FromBytes(bytes.subspan(8, 16)),
                  IpAddress::FromBytes(bytes.subspan(24, 16)), static_cast<uint16_t>(total)};
    if (route.source.is_v4() || route.destination.is_v4()) return std::nullopt;
    return route;
  }
  return std::nullopt;
}

std::string DescribePacket(std::span<const uint8_t> bytes) {
  const auto view = ParseIp(bytes);
  if (!view) return absl::StrCat("not an IP packet, ", bytes.size(), " bytes");
  const bool ports = (view->is_tcp() || view->is_udp());
  const std::string source = ports ? Endpoint{view->source, view->source_port}.ToString()
                                   : view->source.ToString();
  const std::string destination = ports
                                      ? Endpoint{view->destination, view->destination_port}.ToString()
                                      : view->destination.ToString();
  std::string what;
  if (view->is_tcp()) {
    what = absl::StrCat("TCP ", FlagNames(view->tcp_flags));
  } else if (view->is_udp()) {
    what = "UDP";
  } else if (view->protocol == (view->v6 ? kProtocolIcmpV6 : kProtocolIcmp)) {
    what = absl::StrCat(view->v6 ? "ICMPv6 " : "ICMP ", view->icmp_type, "/", view->icmp_code);
  } else {
    what = absl::StrCat("protocol ", view->protocol);
  }
  return absl::StrCat(source, " > ", destination, " ", what, view->fragment ? " fragment " : " ",
                      view->total_size, " bytes");
}

}  // namespace im
