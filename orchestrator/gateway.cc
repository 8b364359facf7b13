#include "orchestrator/gateway.h"

#include <optional>
#include <utility>

#include "base/ip_build.h"
#include "orchestrator/control_channel.h"
#include "orchestrator/names/dns_responder.h"

namespace im::orchestrator {

Gateway::Gateway(const IpPrefix& network, const IpAddress& address, const DualStack& dual_stack,
                 TunnelEdge& tunnel, Delegate& delegate)
    : network_(network),
      address_(address),
      dual_stack_(dual_stack),
      tunnel_(tunnel),
      delegate_(delegate),
      from_stack_(*this) {}

void Gateway::Route(PacketBatch batch, Origin origin) {
  if (batch.empty() || RouteWhole(batch, origin)) return;
  std::vector<Group> groups;
  PacketBatch to_stack;
  for (const Packet& packet : batch) RouteOne(packet, origin, groups, to_stack);
  for (Group& group : groups) tunnel_.SendTo(group.peer, std::move(group.batch));
  if (!to_stack.empty() && stack_ != nullptr) stack_->Write(std::move(to_stack));
}

bool Gateway::RouteWhole(PacketBatch& batch, Origin origin) {
  const std::optional<IpRoute> first = ParseIpRoute(batch[0].bytes());
  if (!first.has_value()) return false;
  const IpAddress host = dual_stack_.Plain(first->destination);
  const auto route = routes_.find(host);
  if (route == routes_.end() || !SourceIsRight(first->source, origin)) return false;
  for (size_t i = 1; i < batch.size(); ++i) {
    const std::optional<IpRoute> next = ParseIpRoute(batch[i].bytes());
    if (!next.has_value() || next->destination != first->destination ||
        next->source != first->source) {
      return false;
    }
  }
  const tunnel::PublicKey peer = route->second;
  if (origin == Origin::kTunnel) {
    forwarded_packets_ += batch.size() - 1;
    Forwarded(dual_stack_.Plain(first->source), host, batch.total_bytes());
  } else {
    pairs_.Add(address_, host, batch.total_bytes());
  }
  tunnel_.SendTo(peer, std::move(batch));
  return true;
}

void Gateway::RouteOne(const Packet& packet, Origin origin, std::vector<Group>& groups,
                       PacketBatch& to_stack) {
  const std::optional<IpRoute> ip = ParseIpRoute(packet.bytes());
  if (!ip.has_value()) {
    drops_.Add(DropReason::kMalformed);
    return;
  }
  if (!SourceIsRight(ip->source, origin)) {
    drops_.Add(DropReason::kSpoofed);
    return;
  }
  const IpAddress host = dual_stack_.Plain(ip->destination);
  if (host == address_) return ToGateway(packet, origin, to_stack);
  if (const auto route = routes_.find(host); route != routes_.end()) {
    if (groups.empty() || groups.back().destination != host) {
      // Packets of one flow stay in order also if others come between: a
      // destination has one group.
      auto group = groups.begin();
      while (group != groups.end() && group->destination != host) ++group;
      if (group == groups.end()) {
        groups.push_back({host, route->second, PacketBatch()});
      } else if (group + 1 != groups.end()) {
        std::swap(*group, groups.back());
      }
    }
    groups.back().batch.AppendCopy(packet);
    if (origin == Origin::kTunnel) {
      Forwarded(dual_stack_.Plain(ip->source), host, packet.size);
    } else {
      pairs_.Add(address_, host, packet.size);
    }
    return;
  }
  if (!InNetwork(ip->destination)) {
    drops_.Add(DropReason::kNoRoute);
    return;
  }
  const std::optional<IpView> view = ParseIp(packet.bytes());
  if (!view.has_value()) {
    drops_.Add(DropReason::kMalformed);
    return;
  }
  // Whoever asked may not be up yet, and need not be woken for the answer.
  if (origin == Origin::kStack && view->is_udp() && view->source_port == names::kDnsPort)
    return Send(packet.bytes(), ip->destination);
  if (!delegate_.OnPacketToSleeper(packet, *view)) {
    drops_.Add(DropReason::kNoRoute);
    RefuseOne(packet);
  }
}

bool Gateway::InNetwork(const IpAddress& address) const {
  return network_.Contains(address) ||
         (dual_stack_.on() && dual_stack_.network().Contains(address));
}

bool Gateway::SourceIsRight(const IpAddress& source, Origin origin) const {
  const bool own = dual_stack_.Plain(source) == address_;
  if (origin == Origin::kStack) return own;
  // That the sender owns the address was checked by the tunnel.
  return !own && InNetwork(source);
}

void Gateway::ToGateway(const Packet& packet, Origin origin, PacketBatch& to_stack) {
  const std::optional<IpView> view = ParseIp(packet.bytes());
  if (!view.has_value() || origin == Origin::kStack) {
    drops_.Add(DropReason::kMalformed);
    return;
  }
  if (view->is_udp() && view->destination_port == kControlPort) {
    delegate_.OnControlPacket(packet, *view);
  } else if (stack_ != nullptr) {
    pairs_.Add(dual_stack_.Plain(view->source), address_, packet.size);
    to_stack.AppendCopy(packet);
  } else {
    drops_.Add(DropReason::kNoRoute);
  }
}

void Gateway::Forwarded(const IpAddress& from, const IpAddress& to, size_t bytes) {
  forwarded_bytes_ += bytes;
  ++forwarded_packets_;
  pairs_.Add(from, to, bytes);
  delegate_.OnForwarded(from, to);
}

void Gateway::Deliver(const IpAddress& host, PacketBatch batch) {
  const std::optional<tunnel::PublicKey> peer = PeerFor(host);
  if (!peer.has_value()) {
    drops_.Add(DropReason::kNoRoute, batch.size());
    return;
  }
  for (const Packet& packet : batch) {
    const std::optional<IpRoute> ip = ParseIpRoute(packet.bytes());
    if (!ip.has_value()) continue;
    if (const IpAddress from = dual_stack_.Plain(ip->source); from != address_) {
      Forwarded(from, host, packet.size);
    } else {
      pairs_.Add(address_, host, packet.size);
    }
  }
  tunnel_.SendTo(*peer, std::move(batch));
}

std::optional<tunnel::PublicKey> Gateway::PeerFor(const IpAddress& host) const {
  const auto route = routes_.find(host);
  return route != routes_.end() ? std::optional(route->second) : delegate_.PeerOf(host);
}

void Gateway::Refuse(const PacketBatch& batch) {
  for (const Packet& packet : batch) RefuseOne(packet);
}

void Gateway::RefuseOne(const Packet& packet) {
  const std::optional<IpRoute> ip = ParseIpRoute(packet.bytes());
  if (!ip.has_value()) return;
  const std::optional<std::vector<uint8_t>> answer =
      BuildRefusal(packet.bytes(), RefusalKind::kHost);
  if (answer.has_value()) Send(*answer, ip->source);
}

void Gateway::Send(std::span<const uint8_t> packet, const IpAddress& destination) {
  const IpAddress host = dual_stack_.Plain(destination);
  if (host == address_) {
    if (stack_ != nullptr) stack_->Write(SinglePacket(packet));
    return;
  }
  const std::optional<tunnel::PublicKey> peer = PeerFor(host);
  if (!peer.has_value()) {
    drops_.Add(DropReason::kNoRoute);
    return;
  }
  tunnel_.SendTo(*peer, SinglePacket(packet));
}

}  // namespace im::orchestrator
