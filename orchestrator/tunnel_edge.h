// TunnelEdge: what the orchestrator needs of its tunnel. The real one is a
// tunnel::Driver; tests join Devices in memory.

#ifndef IM_ORCHESTRATOR_TUNNEL_EDGE_H_
#define IM_ORCHESTRATOR_TUNNEL_EDGE_H_

#include <optional>

#include "base/counters.h"
#include "base/ip_address.h"
#include "base/packet.h"
#include "tunnel/device.h"
#include "tunnel/driver.h"

namespace im::orchestrator {

class TunnelEdge {
 public:
  virtual ~TunnelEdge() = default;
  virtual absl::Status SetPeer(const tunnel::PeerConfig& peer) = 0;
  virtual void RemovePeer(const tunnel::PublicKey& peer) = 0;
  // Begins a handshake unless a session is up.
  virtual void Connect(const tunnel::PublicKey& peer) = 0;
  virtual void SendTo(const tunnel::PublicKey& peer, PacketBatch batch) = 0;
  // Where the peer was last heard from.
  virtual std::optional<Endpoint> EndpointOf(const tunnel::PublicKey& peer) const = 0;
  // Everything the tunnel knows of the peer.
  virtual std::optional<tunnel::PeerStatus> StatusOf(const tunnel::PublicKey& peer) const = 0;
  // What it has dropped so far, its socket's share too.
  virtual DropCounters Drops() const = 0;
};

class DriverEdge final : public TunnelEdge {
 public:
  explicit DriverEdge(tunnel::Driver& driver) : driver_(driver) {}

  absl::Status SetPeer(const tunnel::PeerConfig& peer) override { return driver_.SetPeer(peer); }
  void RemovePeer(const tunnel::PublicKey& peer) override { driver_.RemovePeer(peer); }
  void Connect(const tunnel::PublicKey& peer) override { driver_.Connect(peer); }
  void SendTo(const tunnel::PublicKey& peer, PacketBatch batch) override {
    driver_.SendTo(peer, std::move(batch));
  }
  std::optional<Endpoint> EndpointOf(const tunnel::PublicKey& peer) const override {
    const std::optional<tunnel::PeerStatus> status = driver_.device().GetPeer(peer);
    return status.has_value() ? status->endpoint : std::nullopt;
  }
  std::optional<tunnel::PeerStatus> StatusOf(const tunnel::PublicKey& peer) const override {
    return driver_.device().GetPeer(peer);
  }
  DropCounters Drops() const override { return driver_.Drops(); }

 private:
  tunnel::Driver& driver_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_TUNNEL_EDGE_H_
