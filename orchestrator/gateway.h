// Gateway: where packets go that no instance's tunnel has a nearer way for.
//
// Every instance sends what it has no direct peer for to the gateway: control
// messages, packets to hosts that are not up, and the first packets to hosts
// that it was not introduced to yet. imd's own packets (published ports, by
// lwIP) take the same way, so they wake hosts too.
//
//   to the gateway's address   UDP port kControlPort → control channel
//                              else → lwIP
//   to a host that is up       → its tunnel; both are introduced
//   to a host that is not      → activator, which holds the packet and wakes it
//   to no host of the network  ← refused: "host unreachable"
//   anything else              dropped and counted
//
// Batches: one whose packets all go to one running host is passed on as it is;
// others are sorted by destination, in order.
//
// A host is known by its IPv4 address, to the delegate too; packets to and from its
// IPv6 address are the same host's (base/dual_stack.h).

#ifndef IM_ORCHESTRATOR_GATEWAY_H_
#define IM_ORCHESTRATOR_GATEWAY_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/counters.h"
#include "base/dual_stack.h"
#include "base/ip_address.h"
#include "base/ip_header.h"
#include "base/packet_sink.h"
#include "orchestrator/pair_bytes.h"
#include "orchestrator/tunnel_edge.h"
#include "tunnel/keys.h"

namespace im::orchestrator {

// Write() takes what comes out of the tunnel. Owned by the loop's thread.
class Gateway final : public PacketSink {
 public:
  class Delegate {
   public:
    virtual ~Delegate() = default;
    // A datagram to the control port.
    virtual void OnControlPacket(const Packet& packet, const IpView& view) = 0;
    // Packets went from one running host to another by way of the gateway.
    virtual void OnForwarded(const IpAddress& from, const IpAddress& to) = 0;
    // A packet to an address without a route. False: there is no such host.
    virtual bool OnPacketToSleeper(const Packet& packet, const IpView& view) = 0;
    // Who speaks for a host without a route, if anybody does: its packets may
    // come before the status that makes it running.
    virtual std::optional<tunnel::PublicKey> PeerOf(const IpAddress& host) const = 0;
  };

  // `network` and `address` are of IPv4. `tunnel` and `delegate` must outlive it.
  Gateway(const IpPrefix& network, const IpAddress& address, const DualStack& dual_stack,
          TunnelEdge& tunnel, Delegate& delegate);

  // Takes what is for the gateway's own address; null: nobody does.
  void SetStack(PacketSink* stack) { stack_ = stack; }
  // For what the stack sends.
  PacketSink& from_stack() { return from_stack_; }

  // The host is up, and reached through this peer.
  void AddRoute(const IpAddress& host, const tunnel::PublicKey& peer) { routes_[host] = peer; }
  void RemoveRoute(const IpAddress& host) { routes_.erase(host); }

  void Write(PacketBatch batch) override { Route(std::move(batch), Origin::kTunnel); }
  // Packets for `host`, that were held until now or are looked at one by one.
  void Deliver(const IpAddress& host, PacketBatch batch);
  // Answers each of the packets with a RST or an ICMP error.
  void Refuse(const PacketBatch& batch);
  // A packet of the gateway itself, or in the name of a host that is not up. Dropped if its destination has no instance.
  void Send(std::span<const uint8_t> packet, const IpAddress& destination);

  // Of packets between hosts.
  uint64_t forwarded_bytes() const { return forwarded_bytes_; }
  uint64_t forwarded_packets() const { return forwarded_packets_; }
  // What passes here between two ends, of which one may be the gateway itself
  // (published ports).
  PairBytes& pairs() { return pairs_; }
  const DropCounters& drops() const { return drops_; }

 private:
  enum class Origin { kTunnel, kStack };
  class StackSink final : public PacketSink {
   public:
    explicit StackSink(Gateway& gateway) : gateway_(gateway) {}
    void Write(PacketBatch batch) override { gateway_.Route(std::move(batch), Origin::kStack); }

   private:
    Gateway& gateway_;
  };
  struct Group {
    IpAddress destination;
    tunnel::PublicKey peer;
    PacketBatch batch;
  };

  void Route(PacketBatch batch, Origin origin);
  // True: the batch went as a whole.
  bool RouteWhole(PacketBatch& batch, Origin origin);
  void RouteOne(const Packet& packet, Origin origin, std::vector<Group>& groups,
                PacketBatch& to_stack);
  // Of ours, by whatever family. `address` as it is in the packet.
  bool InNetwork(const IpAddress& address) const;
  bool SourceIsRight(const IpAddress& source, Origin origin) const;
  void ToGateway(const Packet& packet, Origin origin, PacketBatch& to_stack);
  void Forwarded(const IpAddress& from, const IpAddress& to, size_t bytes);
  void RefuseOne(const Packet& packet);
  std::optional<tunnel::PublicKey> PeerFor(const IpAddress& host) const;

  const IpPrefix network_;
  const IpAddress address_;
  const DualStack dual_stack_;
  TunnelEdge& tunnel_;
  Delegate& delegate_;
  PacketSink* stack_ = nullptr;
  StackSink from_stack_;
  absl::flat_hash_map<IpAddress, tunnel::PublicKey> routes_;
  uint64_t forwarded_bytes_ = 0;
  uint64_t forwarded_packets_ = 0;
  PairBytes pairs_;
  DropCounters drops_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_GATEWAY_H_
