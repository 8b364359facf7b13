// PacketUse: what a packet to a host that is not up calls for.

#ifndef IM_ORCHESTRATOR_PACKET_USE_H_
#define IM_ORCHESTRATOR_PACKET_USE_H_

#include <cstdint>

#include "base/ip_header.h"

namespace im::orchestrator {

enum class PacketUse : uint8_t {
  kWakes,      // of use to a fresh instance: SYN, datagram, ping, data, others
  kLeftover,   // of a connection that only a surviving instance could know:
               // TCP without SYN and payload (keepalive, ACK, FIN, SYN-ACK)
  kUseless,    // RST, ICMP errors and replies: never a reason to do anything
};

inline PacketUse UseOfPacket(const IpView& view) {
  // A later fragment: one with the others.
  if (view.fragment && view.transport_offset == 0) return PacketUse::kWakes;
  if (view.is_rst()) return PacketUse::kUseless;
  if (view.protocol == kProtocolIcmp || view.protocol == kProtocolIcmpV6)
    return view.is_echo_request() ? PacketUse::kWakes : PacketUse::kUseless;
  if (view.is_tcp() && !view.is_syn() && view.payload_size() == 0) return PacketUse::kLeftover;
  return PacketUse::kWakes;
}

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_PACKET_USE_H_
