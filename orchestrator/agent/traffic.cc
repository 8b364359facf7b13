#include "orchestrator/agent/traffic.h"

namespace im::agent {

bool Traffic::IsNewByte(const IpView& packet) {
  const FlowKey flow = packet.flow();
  for (Probed& probed : probed_) {
    if (probed.flow != flow) continue;
    const bool is_new = probed.sequence != packet.tcp_sequence;
    probed.sequence = packet.tcp_sequence;
    return is_new;
  }
  probed_[next_] = {flow, packet.tcp_sequence};
  next_ = (next_ + 1) % kProbedFlowsMax;
  return true;
}

Use Traffic::OfPayload(const IpView& packet) {
  if (packet.is_tcp()) {
    if (packet.payload_size() == 0) return Use::kNone;
    if (packet.payload_size() == 1 && !IsNewByte(packet)) return Use::kNone;
    return Use::kData;
  }
  if (packet.is_udp()) return Use::kDatagram;
  if (packet.is_echo_request()) return Use::kPing;
  if (packet.protocol == kProtocolIcmp || packet.protocol == kProtocolIcmpV6)
    return packet.icmp_type == 0 || packet.icmp_type == 129 ? Use::kPing : Use::kNone;
  return Use::kData;  // later fragments, SCTP and the like
}

Use Traffic::OfInbound(const IpView& packet) {
  if (packet.is_tcp()) {
    if (packet.is_syn()) return Use::kSyn;
    const bool ends = (packet.tcp_flags & (kTcpFin | kTcpRst)) != 0;
    if (ends && packet.payload_size() == 0) return Use::kEnd;
    if (ends || (packet.tcp_flags & kTcpSyn) != 0) return Use::kData;
  }
  return OfPayload(packet);
}

Use Traffic::OfOutbound(const IpView& packet) {
  if (packet.is_syn()) return Use::kSyn;
  return OfPayload(packet);
}

}  // namespace im::agent
