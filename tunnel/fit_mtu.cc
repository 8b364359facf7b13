#include "tunnel/fit_mtu.h"

#include <algorithm>

#include "base/ip_header.h"

namespace im::tunnel {
namespace {

constexpr uint8_t kDontFragment = 0x40;  // in byte 6 of an IPv4 header

}  // namespace

int MtuFor(bool v4, int mtu) { return v4 ? mtu : std::max(mtu, kIpv6MtuMin); }

FitResult FitToMtu(Packet& packet, int mtu) {
  const auto whole = static_cast<int>(packet.size);
  // Most packets, by their size alone.
  if (whole <= mtu) return {.fit = Fit::kWhole, .size = whole};
  const auto view = ParseIp(packet.bytes());
  // Not for us to judge.
  if (!view) return {.fit = Fit::kWhole, .size = whole};

  const int limit = MtuFor(!view->v6, mtu);
  const int headers = view->payload_offset;
  const int size = packet.segment_size == 0 ? static_cast<int>(view->total_size)
                                            : std::min(headers + packet.segment_size, whole);
  if (size <= limit) return {.fit = Fit::kWhole, .size = size};
  if (view->is_tcp() && !view->fragment && (view->tcp_flags & kTcpSyn) == 0) {
    packet.segment_size = static_cast<uint16_t>(limit - headers);
    return {.fit = Fit::kCut, .size = size, .mtu = limit};
  }
  const bool may_be_fragmented =
      !view->v6 && packet.segment_size == 0 && (packet.data[6] & kDontFragment) == 0;
  return {.fit = may_be_fragmented ? Fit::kWhole : Fit::kTooBig, .size = size, .mtu = limit};
}

void JoinSegments(Packet& packet, int mtu) {
  if (packet.segment_size == 0) return;
  const auto view = ParseIp(packet.bytes());
  if (!view || !view->is_tcp() || view->fragment || (view->tcp_flags & kTcpSyn) != 0) return;
  const int room = std::min(mtu - static_cast<int>(view->payload_offset),
                            static_cast<int>(view->payload_size()));
  if (room > packet.segment_size) packet.segment_size = static_cast<uint16_t>(room);
}

}  // namespace im::tunnel
