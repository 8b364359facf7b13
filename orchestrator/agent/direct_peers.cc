#include "orchestrator/agent/direct_peers.h"

#include "base/log.h"

namespace im::agent {

void DirectPeers::Apply(const IpAddress& address, const proto::PeerUpdate& update, Instant now) {
  const auto key = tunnel::PublicKey::FromBytes(update.public_key());
  auto known = peers_.find(address);
  // Another incarnation of that host has another key.
  if (known != peers_.end() && (update.withdrawn() || !key || known->second.key != *key))
    Remove(address);
  const auto endpoint = Endpoint::Parse(update.endpoint());
  if (update.withdrawn() || !key || !endpoint) return;
  tunnel::PeerConfig config;
  config.public_key = *key;
  config.endpoint = *endpoint;
  config.allowed_ips = {IpPrefix::Host(address)};
  config.standby = true;
  config.probe_mtu = true;
  if (absl::Status status = driver_.SetPeer(config); !status.ok()) {
    IM_LOG(kWarning, "introduction to ", address.ToString(), ": ", std::string(status.message()));
    return;
  }
  Peer& peer = peers_[address];
  peer.key = *key;
  peer.asked_at = now;
  addresses_[*key] = address;
  driver_.Connect(*key);
}

void DirectPeers::Remove(const IpAddress& address) {
  auto found = peers_.find(address);
  if (found->second.up) --up_;
  const tunnel::PublicKey key = found->second.key;
  addresses_.erase(key);
  peers_.erase(found);
  driver_.RemovePeer(key);
}

void DirectPeers::OnSession(const tunnel::PublicKey& key, bool up) {
  auto address = addresses_.find(key);
  if (address == addresses_.end()) return;
  Peer& peer = peers_.at(address->second);
  if (peer.up == up) return;
  peer.up = up;
  up ? ++up_ : --up_;
}

void DirectPeers::OnPacketTo(const IpAddress& destination, Instant now) {
  auto found = peers_.find(destination);
  if (found == peers_.end() || found->second.up) return;
  if (now - found->second.asked_at < kReconnectAfter) return;
  found->second.asked_at = now;
  driver_.Connect(found->second.key);
}

}  // namespace im::agent
