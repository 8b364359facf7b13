// SimTunnel: the gateway's end of the tunnels, without cryptography: peers by
// their keys, sessions, handshakes that are repeated, and a queue for what waits
// for one. It dies with its imd; a new one has new sessions.

#ifndef IM_TESTS_SIMULATION_SIM_TUNNEL_H_
#define IM_TESTS_SIMULATION_SIM_TUNNEL_H_

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "orchestrator/tunnel_edge.h"
#include "tests/simulation/world.h"

namespace im::simulation {

// WireGuard's: [W] 6.4.
inline constexpr Duration kHandshakeRepeat = std::chrono::seconds(5);
inline constexpr int kHandshakesMax = 18;
inline constexpr Duration kSilenceMax = std::chrono::seconds(15);

inline Endpoint EndpointOfNode(Node node) {
  return {IpAddress::V4(0x7f000001), static_cast<uint16_t>(2000 + node)};
}
inline Node NodeOfEndpoint(const Endpoint& endpoint) { return endpoint.port - 2000u; }

class SimTunnel final : public orchestrator::TunnelEdge {
 public:
  class Delegate {
   public:
    virtual ~Delegate() = default;
    // Something leaves for a peer; it may be lost later.
    virtual void OnGatewaySends(const tunnel::PublicKey& peer, const std::vector<uint8_t>& bytes) = 0;
    virtual void HandshakeToAgent(Node node, const tunnel::PublicKey& key) = 0;
    virtual void PacketToAgent(Node node, const std::vector<uint8_t>& bytes) = 0;
  };

  SimTunnel(World& world, Delegate& delegate) : world_(world), delegate_(delegate) {}

  absl::Status SetPeer(const tunnel::PeerConfig& config) override {
    Peer& peer = peers_[config.public_key];
    peer.allowed_ips = config.allowed_ips;
    if (config.endpoint) peer.node = NodeOfEndpoint(*config.endpoint);
    return absl::OkStatus();
  }
  void RemovePeer(const tunnel::PublicKey& key) override { peers_.erase(key); }
  void Connect(const tunnel::PublicKey& key) override {
    const auto it = peers_.find(key);
    if (it == peers_.end() || it->second.session || !it->second.node) return;
    if (it->second.tries_left > 0) return;  // is at it
    it->second.tries_left = kHandshakesMax;
    Try(key);
  }
  void SendTo(const tunnel::PublicKey& key, PacketBatch batch) override {
    const auto it = peers_.find(key);
    for (const Packet& packet : batch) {
      std::vector<uint8_t> bytes(packet.data, packet.data + packet.size);
      delegate_.OnGatewaySends(key, bytes);
      if (it == peers_.end()) continue;
      if (it->second.session) {
        delegate_.PacketToAgent(*it->second.node, bytes);
      } else if (it->second.queue.size() < kQueueMax) {
        it->second.queue.push_back(std::move(bytes));
      }
    }
    if (it != peers_.end() && !it->second.session) Connect(key);
  }
  std::optional<Endpoint> EndpointOf(const tunnel::PublicKey& key) const override {
    const auto it = peers_.find(key);
    if (it == peers_.end() || !it->second.node) return std::nullopt;
    return EndpointOfNode(*it->second.node);
  }
  std::optional<tunnel::PeerStatus> StatusOf(const tunnel::PublicKey&) const override {
    return std::nullopt;
  }
  DropCounters Drops() const override { return {}; }

  // A handshake of the agent's, or its answer to ours. False: no such peer.
  bool OnHandshake(const tunnel::PublicKey& key, Node node) {
    const auto it = peers_.find(key);
    if (it == peers_.end()) return false;
    it->second.node = node;
    it->second.session = true;
    it->second.tries_left = 0;
    for (const std::vector<uint8_t>& bytes : std::exchange(it->second.queue, {}))
      delegate_.PacketToAgent(node, bytes);
    return true;
  }
  bool HasSession(const tunnel::PublicKey& key) const {
    const auto it = peers_.find(key);
    return it != peers_.end() && it->second.session;
  }
  // Whether a packet of `source` comes out of this peer's tunnel. Preconditions: HasSession().
  bool Allows(const tunnel::PublicKey& key, const IpAddress& source) const {
    const std::vector<IpPrefix>& allowed = peers_.at(key).allowed_ips;
    return std::any_of(allowed.begin(), allowed.end(),
                       [&](const IpPrefix& prefix) { return prefix.Contains(source); });
  }
  size_t peers() const { return peers_.size(); }

  // Repeats what is due. kNever: nothing is.
  Instant NextDeadline() const {
    Instant next = kNever;
    for (const auto& [key, peer] : peers_)
      if (peer.tries_left > 0) next = std::min(next, peer.tried_at + kHandshakeRepeat);
    return next;
  }
  void OnTimer() {
    for (const auto& [key, peer] : peers_)
      if (peer.tries_left > 0 && peer.tried_at + kHandshakeRepeat <= world_.Now()) Try(key);
  }

 private:
  static constexpr size_t kQueueMax = 128;
  struct Peer {
    std::optional<Node> node;
    bool session = false;
    int tries_left = 0;
    Instant tried_at;
    std::vector<IpPrefix> allowed_ips;
    std::vector<std::vector<uint8_t>> queue;
  };
  void Try(const tunnel::PublicKey& key) {
    Peer& peer = peers_.at(key);
    --peer.tries_left;
    peer.tried_at = world_.Now();
    delegate_.HandshakeToAgent(*peer.node, key);
  }

  World& world_;
  Delegate& delegate_;
  std::map<tunnel::PublicKey, Peer> peers_;
};

}  // namespace im::simulation

#endif  // IM_TESTS_SIMULATION_SIM_TUNNEL_H_
