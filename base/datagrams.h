// The datagrams of a UDP packet, which may be a super-packet: the tunnel joins
// datagrams of one flow that came together.

#ifndef IM_BASE_DATAGRAMS_H_
#define IM_BASE_DATAGRAMS_H_

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/ip_header.h"
#include "base/packet.h"

namespace im {

// Calls `take` with each datagram's payload, in order.
// Precondition: `view` is of `packet` and is_udp().
template <typename Take>
void ForEachDatagram(const Packet& packet, const IpView& view, const Take& take) {
  std::span<const uint8_t> rest = packet.bytes().subspan(view.payload_offset, view.payload_size());
  const size_t size = packet.segment_size == 0 ? rest.size() : packet.segment_size;
  do {
    const std::span<const uint8_t> payload = rest.first(std::min(size, rest.size()));
    rest = rest.subspan(payload.size());
    take(payload);
  } while (!rest.empty());
}

}  // namespace im

#endif  // IM_BASE_DATAGRAMS_H_
