#include "base/ip_build.h"

#include <algorithm>
#include <cstring>

#include "base/big_endian.h"
#include "base/check.h"
#include "base/checksum.h"

namespace im {
namespace {

constexpr uint8_t kHopLimit = 64;

// An ICMP error carries as much of the packet as fits into this, in bytes
// (RFC 1812 4.3.2.3; RFC 4443 3.1).
constexpr size_t kIcmp4ErrorBytesMax = 576;
constexpr size_t kIcmp6ErrorBytesMax = 1280;

constexpr uint8_t kIcmp4Unreachable = 3;
constexpr uint8_t kIcmp4FragmentationNeeded = 4;  // a code of it (RFC 1191 4)
constexpr uint8_t kIcmp6Unreachable = 1;
constexpr uint8_t kIcmp6TooBig = 2;

// A packet with its IP header and a zeroed transport part, which begins at
// `transport`.
struct Draft {
  std::vector<uint8_t> bytes;
  uint8_t* transport;
};

Draft NewPacket(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                size_t transport_size) {
  const bool v4 = source.is_v4();
  IM_CHECK(v4 == destination.is_v4());
  const size_t header_size = v4 ? 20 : 40;
  const size_t total = header_size + transport_size;
  IM_CHECK(total <= 65535);
  Draft draft;
  draft.bytes.resize(total);
  uint8_t* b = draft.bytes.data();
  draft.transport = b + header_size;
  if (v4) {
    b[0] = 0x45;
    StoreBig16(b + 2, static_cast<uint16_t>(total));
    StoreBig16(b + 6, 0x4000);  // don't fragment, so the identification may be 0 (RFC 6864)
    b[8] = kHopLimit;
    b[9] = protocol;
    std::memcpy(b + 12, source.bytes().data(), 4);
    std::memcpy(b + 16, destination.bytes().data(), 4);
    SetIpv4HeaderChecksum(draft.bytes);
  } else {
    b[0] = 0x60;
    StoreBig16(b + 4, static_cast<uint16_t>(transport_size));
    b[6] = protocol;
    b[7] = kHopLimit;
    std::memcpy(b + 8, source.bytes().data(), 16);
    std::memcpy(b + 24, destination.bytes().data(), 16);
  }
  return draft;
}

std::vector<uint8_t> Finish(Draft draft) {
  const auto view = ParseIp(draft.bytes);
  IM_CHECK(view.has_value());
  SetTransportChecksum(draft.bytes, *view);
  return std::move(draft.bytes);
}

void PutBytes(uint8_t* at, std::span<const uint8_t> bytes) {
  if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
}

uint8_t IcmpProtocol(const IpAddress& address) {
  return address.is_v4() ? kProtocolIcmp : kProtocolIcmpV6;
}

bool IsIcmpError(const IpView& view) {
  if (view.v6) return view.protocol == kProtocolIcmpV6 && view.icmp_type < 128;
  if (view.protocol != kProtocolIcmp) return false;
  switch (view.icmp_type) {
    case 3:   // destination unreachable
    case 4:   // source quench
    case 5:   // redirect
    case 11:  // time exceeded
    case 12:  // parameter problem
      return true;
    default:
      return false;
  }
}

// RFC 1122 3.2.2: an address that names one host.
bool NamesOneHost(const IpAddress& address) {
  if (address.is_unspecified() || address.is_loopback() || address.is_multicast()) return false;
  return !address.is_v4() || (address.v4() >> 28) != 0xf;
}

// RFC 9293 3.5.2, group 1: the connection does not exist.
std::vector<uint8_t> BuildReset(const IpView& view) {
  TcpFields fields;
  if ((view.tcp_flags & kTcpAck) != 0) {
    fields.flags = kTcpRst;
    fields.sequence = view.tcp_acknowledgment;
  } else {
    fields.flags = kTcpRst | kTcpAck;
    const int syn = (view.tcp_flags & kTcpSyn) != 0;
    const int fin = (view.tcp_flags & kTcpFin) != 0;
    fields.acknowledgment =
        view.tcp_sequence + view.payload_size() + static_cast<uint32_t>(syn + fin);
  }
  return BuildTcp({view.destination, view.destination_port}, {view.source, view.source_port},
                  fields);
}

// An ICMP error about `packet` to its sender, in the name of its destination;
// `rest`: the second word of the header.
std::vector<uint8_t> BuildIcmpError(std::span<const uint8_t> packet, const IpView& view,
                                    uint8_t type, uint8_t code, uint32_t rest) {
  const size_t overhead = (view.v6 ? 40 : 20) + 8;
  const size_t quoted_max = (view.v6 ? kIcmp6ErrorBytesMax : kIcmp4ErrorBytesMax) - overhead;
  const auto quoted = packet.first(std::min<size_t>(view.total_size, quoted_max));
  Draft draft = NewPacket(view.destination, view.source, IcmpProtocol(view.source),
                          8 + quoted.size());
  draft.transport[0] = type;
  draft.transport[1] = code;
  StoreBig32(draft.transport + 4, rest);
  PutBytes(draft.transport + 8, quoted);
  return Finish(std::move(draft));
}

uint32_t RestOfTooBig(bool v6, int mtu) {
  const auto rest = static_cast<uint32_t>(mtu);
  return v6 ? rest : std::min<uint32_t>(rest, 0xffff);
}

std::vector<uint8_t> BuildUnreachable(std::span<const uint8_t> packet, const IpView& view,
                                      RefusalKind kind) {
  // RFC 4443 3.1: 3 address, 4 port. RFC 792: 1 host, 3 port.
  const bool port = kind == RefusalKind::kPort;
  if (view.v6) return BuildIcmpError(packet, view, kIcmp6Unreachable, port ? 4 : 3, 0);
  return BuildIcmpError(packet, view, kIcmp4Unreachable, port ? 3 : 1, 0);
}

}  // namespace

std::vector<uint8_t> BuildUdp(const Endpoint& source, const Endpoint& destination,
                              std::span<const uint8_t> payload) {
  Draft draft =
      NewPacket(source.address, destination.address, kProtocolUdp, 8 + payload.size());
  StoreBig16(draft.transport, source.port);
  StoreBig16(draft.transport + 2, destination.port);
  StoreBig16(draft.transport + 4, static_cast<uint16_t>(8 + payload.size()));
  PutBytes(draft.transport + 8, payload);
  return Finish(std::move(draft));
}

std::vector<uint8_t> BuildTcp(const Endpoint& source, const Endpoint& destination,
                              const TcpFields& fields, std::span<const uint8_t> payload) {
  IM_CHECK(fields.options.size() % 4 == 0 && fields.options.size() <= 40);
  const size_t header_size = 20 + fields.options.size();
  Draft draft =
      NewPacket(source.address, destination.address, kProtocolTcp, header_size + payload.size());
  uint8_t* tcp = draft.transport;
  StoreBig16(tcp, source.port);
  StoreBig16(tcp + 2, destination.port);
  StoreBig32(tcp + 4, fields.sequence);
  StoreBig32(tcp + 8, fields.acknowledgment);
  tcp[12] = static_cast<uint8_t>(header_size / 4 << 4);
  tcp[13] = fields.flags;
  StoreBig16(tcp + 14, fields.window);
  PutBytes(tcp + 20, fields.options);
  PutBytes(tcp + header_size, payload);
  return Finish(std::move(draft));
}

std::vector<uint8_t> BuildEchoRequest(const IpAddress& source, const IpAddress& destination,
                                      uint16_t identifier, uint16_t sequence,
                                      std::span<const uint8_t> payload) {
  Draft draft = NewPacket(source, destination, IcmpProtocol(source), 8 + payload.size());
  draft.transport[0] = source.is_v4() ? 8 : 128;
  StoreBig16(draft.transport + 4, identifier);
  StoreBig16(draft.transport + 6, sequence);
  PutBytes(draft.transport + 8, payload);
  return Finish(std::move(draft));
}

std::optional<std::vector<uint8_t>> BuildRefusal(std::span<const uint8_t> packet,
                                                 RefusalKind kind) {
  const auto view = ParseIp(packet);
  if (!view || view->transport_offset == 0) return std::nullopt;
  if (view->is_rst() || IsIcmpError(*view)) return std::nullopt;
  if (!NamesOneHost(view->source) || !NamesOneHost(view->destination)) return std::nullopt;
  if (view->is_tcp()) return BuildReset(*view);
  return BuildUnreachable(packet, *view, kind);
}

std::optional<std::vector<uint8_t>> BuildTooBig(std::span<const uint8_t> packet, int mtu) {
  const auto view = ParseIp(packet);
  if (!view || IsIcmpError(*view)) return std::nullopt;
  // A later fragment is not answered (RFC 1122 3.2.2), but in IPv6 (RFC 4443 2.4 e).
  if (!view->v6 && view->transport_offset == 0) return std::nullopt;
  if (!NamesOneHost(view->source) || !NamesOneHost(view->destination)) return std::nullopt;
  const uint32_t rest = RestOfTooBig(view->v6, mtu);
  if (view->v6) return BuildIcmpError(packet, *view, kIcmp6TooBig, 0, rest);
  return BuildIcmpError(packet, *view, kIcmp4Unreachable, kIcmp4FragmentationNeeded, rest);
}

void SetTooBigMtu(std::span<uint8_t> error, int mtu) {
  const auto view = ParseIp(error);
  IM_CHECK(view.has_value() && IsIcmpError(*view));
  StoreBig32(error.data() + view->transport_offset + 4, RestOfTooBig(view->v6, mtu));
  SetTransportChecksum(error, *view);
}

std::optional<std::vector<uint8_t>> BuildEchoReply(std::span<const uint8_t> packet) {
  const auto view = ParseIp(packet);
  if (!view || !view->is_echo_request() || view->fragment) return std::nullopt;
  if (view->destination.is_multicast() || view->source.is_multicast()) return std::nullopt;
  const auto message =
      packet.subspan(view->transport_offset, view->total_size - view->transport_offset);
  Draft draft =
      NewPacket(view->destination, view->source, IcmpProtocol(view->source), message.size());
  PutBytes(draft.transport, message);
  draft.transport[0] = view->v6 ? 129 : 0;
  StoreBig16(draft.transport + 2, 0);
  return Finish(std::move(draft));
}

}  // namespace im
