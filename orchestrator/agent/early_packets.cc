#include "orchestrator/agent/early_packets.h"

#include <algorithm>
#include <optional>

#include "base/ip_build.h"

namespace im::agent {
namespace {

constexpr uint8_t kIcmpUnreachable = 3;
constexpr uint8_t kIcmpCodePort = 3;
constexpr uint8_t kIcmpV6Unreachable = 1;
constexpr uint8_t kIcmpV6CodePort = 4;
// Type, code, checksum and the unused word before the quoted packet.
constexpr size_t kIcmpHeaderBytes = 8;

bool IsPortUnreachable(const IpView& packet) {
  if (packet.protocol == kProtocolIcmp)
    return packet.icmp_type == kIcmpUnreachable && packet.icmp_code == kIcmpCodePort;
  return packet.protocol == kProtocolIcmpV6 && packet.icmp_type == kIcmpV6Unreachable &&
         packet.icmp_code == kIcmpV6CodePort;
}

// The flow of the UDP datagram that an ICMP error quotes. The quotation is cut
// short, so ParseIp would not take it.
std::optional<FlowKey> QuotedUdpFlow(std::span<const uint8_t> quoted) {
  if (quoted.empty()) return std::nullopt;
  FlowKey flow{.protocol = kProtocolUdp};
  size_t header_bytes = 0;
  if (quoted[0] >> 4 == 4) {
    header_bytes = (quoted[0] & 0xf) * 4u;
    if (header_bytes < 20 || quoted.size() < header_bytes + 4) return std::nullopt;
    if (quoted[9] != kProtocolUdp) return std::nullopt;
    flow.source = IpAddress::FromBytes(quoted.subspan(12, 4));
    flow.destination = IpAddress::FromBytes(quoted.subspan(16, 4));
  } else {
    header_bytes = 40;
    if (quoted[0] >> 4 != 6 || quoted.size() < header_bytes + 4) return std::nullopt;
    if (quoted[6] != kProtocolUdp) return std::nullopt;
    flow.source = IpAddress::FromBytes(quoted.subspan(8, 16));
    flow.destination = IpAddress::FromBytes(quoted.subspan(24, 16));
  }
  const uint8_t* ports = quoted.data() + header_bytes;
  flow.source_port = static_cast<uint16_t>(ports[0] << 8 | ports[1]);
  flow.destination_port = static_cast<uint16_t>(ports[2] << 8 | ports[3]);
  return flow;
}

Duration Longer(Duration delay, Duration first, Duration last) {
  return delay == Duration(0) ? first : std::min(delay * 2, last);
}

void AppendRefusal(std::span<const uint8_t> bytes, PacketBatch& refusals) {
  if (auto refusal = BuildRefusal(bytes, RefusalKind::kPort)) refusals.AppendCopy(*refusal);
}

}  // namespace

void EarlyPackets::OnProgramStart(Instant now) {
  young_ = true;
  old_at_ = now + hold_for_;
}

EarlyPackets::Verdict EarlyPackets::OnInbound(const Packet& packet,
                                              const IpView& view, Instant now) {
  if (!young_ || view.fragment) return Verdict::kPass;
  if (view.is_syn()) return OnInboundSyn(packet, view, now);
  if (view.is_udp()) return OnInboundDatagram(packet, view, now);
  if (view.is_rst()) ForgetSyn(view.flow());  // the caller gave up
  return Verdict::kPass;
}

EarlyPackets::Verdict EarlyPackets::OnInboundSyn(const Packet& packet,
                                                 const IpView& view, Instant now) {
  const FlowKey flow = view.flow();
  if (auto known = syns_.find(flow); known != syns_.end()) {
    if (known->second.sequence == view.tcp_sequence)  // the same again
      return known->second.waiting ? Verdict::kKeep : Verdict::kPass;
    ForgetSyn(flow);  // a new attempt from the same port
  }
  const Port which(view.v6, view.destination_port);
  if (refusing_tcp_ports_.contains(which)) return Verdict::kPass;
  if (!HasRoomFor(packet)) return Verdict::kKeep;
  Syn syn{.packet = KeptPacket(packet, view)};
  syn.sequence = view.tcp_sequence;
  syn.refused_by = view.tcp_sequence + 1 + view.payload_size();
  syn.delay = kUnanswered;
  syn.next = now + kUnanswered;
  auto closed = closed_tcp_ports_.find(which);
  if (closed != closed_tcp_ports_.end()) {
    syn.waiting = true;
    closed->second.waiting.push_back(flow);
  }
  ++packets_;
  bytes_ += syn.packet.bytes.size();
  const bool waiting = syn.waiting;
  syns_.emplace(flow, std::move(syn));
  return waiting ? Verdict::kKeep : Verdict::kPass;
}

EarlyPackets::Verdict EarlyPackets::OnInboundDatagram(const Packet& packet,
                                                      const IpView& view, Instant now) {
  const Port which(view.v6, view.destination_port);
  if (passing_udp_ports_.contains(which)) return Verdict::kPass;
  if (!HasRoomFor(packet)) return Verdict::kKeep;
  auto [at, is_new] = udp_ports_.try_emplace(which);
  UdpPort& port = at->second;
  if (is_new) port.next = now + kRefusedWithin;
  port.waiting.push_back({view.flow(), KeptPacket(packet, view)});
  ++packets_;
  bytes_ += port.waiting.back().packet.bytes.size();
  // Behind one whose fate is open it must wait, so that the order stays.
  return is_new ? Verdict::kPass : Verdict::kKeep;
}

EarlyPackets::Verdict EarlyPackets::OnOutbound(const Packet& packet,
                                               const IpView& view, Instant now) {
  if (!young_ || view.fragment) return Verdict::kPass;
  if (view.is_tcp()) return OnTcpAnswer(view, now);
  if (IsPortUnreachable(view)) return OnUnreachable(packet, view, now);
  if (view.is_udp()) {  // a socket is bound to the port that it sends from
    const Port which(view.v6, view.source_port);
    auto port = udp_ports_.find(which);
    if (port == udp_ports_.end()) {
      passing_udp_ports_.insert(which);
    } else {
      port->second.open = true;
      port->second.next = now;
    }
  }
  return Verdict::kPass;
}

EarlyPackets::Verdict EarlyPackets::OnTcpAnswer(const IpView& view, Instant now) {
  const uint8_t flags = view.tcp_flags & (kTcpSyn | kTcpRst | kTcpAck);
  const bool accepted = flags == (kTcpSyn | kTcpAck);
  if (!accepted && flags != (kTcpRst | kTcpAck)) return Verdict::kPass;
  const FlowKey flow = view.flow().Reversed();
  auto found = syns_.find(flow);
  if (found == syns_.end()) return Verdict::kPass;
  if (accepted) {
    ForgetSyn(flow);
    OpenTcpPort({view.v6, view.source_port}, now);
    return Verdict::kPass;
  }
  Syn& syn = found->second;
  if (view.tcp_acknowledgment != syn.refused_by) return Verdict::kPass;
  const Port which(view.v6, view.source_port);
  if (refusing_tcp_ports_.contains(which)) {
    ForgetSyn(flow);
    return Verdict::kPass;
  }
  auto [at, is_new] = closed_tcp_ports_.try_emplace(which);
  ClosedTcpPort& port = at->second;
  if (!syn.waiting) {
    syn.waiting = true;
    port.waiting.push_back(flow);
  }
  if (is_new || port.waiting.front() == flow) {  // the probe failed
    port.delay = Longer(port.delay, kFirstRetry, kLastRetry);
    port.next = now + port.delay;
    if (AskOtherFamily(kProtocolTcp, which, port.other, now)) port.next = now;
  }
  return Verdict::kKeep;
}

bool EarlyPackets::AskOtherFamily(uint8_t protocol, const Port& which, OtherFamily& other,
                                  Instant now) {
  if (listens_ == nullptr || now < other.ask_at) return false;
  other.ask_at = now + kFamilyGrace;
  const bool open = listens_(protocol, !which.first, which.second);
  other.refuses = open && other.open;
  other.open = open;
  return other.refuses;
}

EarlyPackets::Verdict EarlyPackets::OnUnreachable(const Packet& packet,
                                                  const IpView& view, Instant now) {
  const size_t quoted_at = view.transport_offset + kIcmpHeaderBytes;
  if (packet.size <= quoted_at) return Verdict::kPass;
  const std::optional<FlowKey> flow = QuotedUdpFlow(packet.bytes().subspan(quoted_at));
  if (!flow) return Verdict::kPass;
  auto found = udp_ports_.find({!flow->destination.is_v4(), flow->destination_port});
  // Only the first of a port is ever at the kernel.
  if (found == udp_ports_.end() || !(found->second.waiting.front().flow == *flow))
    return Verdict::kPass;
  UdpPort& port = found->second;
  if (port.refused) return Verdict::kKeep;  // another segment of the same
  port.refused = true;
  port.open = false;
  port.delay = Longer(port.delay, kFirstRetry, kLastRetry);
  port.next = now + port.delay;
  if (AskOtherFamily(kProtocolUdp, found->first, port.other, now)) port.next = now;
  return Verdict::kKeep;
}

Instant EarlyPackets::NextDeadline() const {
  if (!young_) return kNever;
  Instant next = old_at_;
  for (const auto& [flow, syn] : syns_)
    if (!syn.waiting) next = std::min(next, syn.next);
  for (const auto& [number, port] : closed_tcp_ports_) next = std::min(next, port.next);
  for (const auto& [number, port] : udp_ports_) next = std::min(next, port.next);
  return next;
}

void EarlyPackets::OnTimer(Instant now, PacketBatch& offers, PacketBatch& refusals) {
  if (!young_) return;
  if (now < old_at_) {
    RefuseTcpPorts(refusals);
    RefuseUdpPorts(refusals);
    OfferSyns(now, offers);
    OfferDatagrams(now, offers);
    return;
  }
  for (const auto& [flow, syn] : syns_)
    if (syn.waiting) AppendRefusal(syn.packet.bytes, refusals);
  for (const auto& [number, port] : udp_ports_)
    for (size_t i = port.refused ? 0 : 1; i < port.waiting.size(); ++i)
      AppendRefusal(port.waiting[i].packet.bytes, refusals);
  ForgetAll();
}

void EarlyPackets::RefuseTcpPorts(PacketBatch& refusals) {
  for (auto at = closed_tcp_ports_.begin(); at != closed_tcp_ports_.end();) {
    const auto closed = at++;
    if (!closed->second.other.refuses) continue;
    refusing_tcp_ports_.insert(closed->first);
    const std::deque<FlowKey> waiting = std::move(closed->second.waiting);
    closed_tcp_ports_.erase(closed);
    for (const FlowKey& flow : waiting) {
      const auto syn = syns_.find(flow);
      AppendRefusal(syn->second.packet.bytes, refusals);
      syn->second.waiting = false;
      ForgetSyn(flow);
    }
  }
}

void EarlyPackets::RefuseUdpPorts(PacketBatch& refusals) {
  for (auto at = udp_ports_.begin(); at != udp_ports_.end();) {
    const auto port = at++;
    if (!port->second.other.refuses || port->second.open) continue;
    for (const Datagram& datagram : port->second.waiting)
      AppendRefusal(datagram.packet.bytes, refusals);
    ForgetUdpPort(port);
  }
}

// From now on its kernel answers.
void EarlyPackets::ForgetUdpPort(absl::flat_hash_map<Port, UdpPort>::iterator port) {
  for (const Datagram& datagram : port->second.waiting) bytes_ -= datagram.packet.bytes.size();
  packets_ -= port->second.waiting.size();
  passing_udp_ports_.insert(port->first);
  udp_ports_.erase(port);
}

void EarlyPackets::OpenTcpPort(const Port& which, Instant now) {
  auto port = closed_tcp_ports_.find(which);
  if (port == closed_tcp_ports_.end()) return;
  for (const FlowKey& flow : port->second.waiting) {
    Syn& syn = syns_.at(flow);
    syn.waiting = false;
    syn.delay = Duration(0);
    syn.next = now;
  }
  closed_tcp_ports_.erase(port);
}

void EarlyPackets::OfferSyns(Instant now, PacketBatch& offers) {
  for (auto& [flow, syn] : syns_) {
    if (syn.waiting || syn.next > now) continue;
    offers.AppendCopy(syn.packet.AsPacket());
    syn.delay = Longer(syn.delay, kUnanswered, kUnansweredLast);
    syn.next = now + syn.delay;
  }
  for (auto& [number, port] : closed_tcp_ports_) {
    if (port.next > now) continue;
    offers.AppendCopy(syns_.at(port.waiting.front()).packet.AsPacket());
    port.next = now + kUnanswered;  // its refusal sets it anew
  }
}

void EarlyPackets::OfferDatagrams(Instant now, PacketBatch& offers) {
  for (auto at = udp_ports_.begin(); at != udp_ports_.end();) {
    const auto which = at++;
    UdpPort& port = which->second;
    if (port.next > now) continue;
    if (port.refused && !port.open) {
      offers.AppendCopy(port.waiting.front().packet.AsPacket());
      port.refused = false;
      port.next = now + kRefusedWithin;
      continue;
    }
    // Open: the others may follow.
    for (size_t i = port.refused ? 0 : 1; i < port.waiting.size(); ++i)
      offers.AppendCopy(port.waiting[i].packet.AsPacket());
    ForgetUdpPort(which);
  }
}

void EarlyPackets::OnProgramExit(PacketBatch& refusals) {
  for (const auto& [flow, syn] : syns_) AppendRefusal(syn.packet.bytes, refusals);
  for (const auto& [number, port] : udp_ports_)
    for (const Datagram& datagram : port.waiting) AppendRefusal(datagram.packet.bytes, refusals);
  ForgetAll();
}

void EarlyPackets::ForgetSyn(const FlowKey& flow) {
  auto syn = syns_.find(flow);
  if (syn == syns_.end()) return;
  if (syn->second.waiting) {
    auto port = closed_tcp_ports_.find({!flow.destination.is_v4(), flow.destination_port});
    std::deque<FlowKey>& waiting = port->second.waiting;
    waiting.erase(std::find(waiting.begin(), waiting.end(), flow));
    if (waiting.empty()) closed_tcp_ports_.erase(port);
  }
  --packets_;
  bytes_ -= syn->second.packet.bytes.size();
  syns_.erase(syn);
}

void EarlyPackets::ForgetAll() {
  young_ = false;
  old_at_ = kNever;
  syns_ = {};
  closed_tcp_ports_ = {};
  refusing_tcp_ports_ = {};
  udp_ports_ = {};
  passing_udp_ports_ = {};
  packets_ = 0;
  bytes_ = 0;
}

size_t EarlyPackets::held() const {
  size_t held = 0;
  for (const auto& [flow, syn] : syns_) held += syn.waiting ? 1 : 0;
  for (const auto& [number, port] : udp_ports_)
    held += port.waiting.size() - (port.refused ? 0 : 1);
  return held;
}

}  // namespace im::agent
