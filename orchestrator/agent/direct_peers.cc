#include "orchestrator/agent/direct_peers.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/log.h"

namespace im::agent {

void DirectPeers::Apply(const IpAddress& address, const proto::PeerUpdate& update, Instant now) {
  const auto key = tunnel::PublicKey::FromBytes(update.public_key());
  auto known = peers_.find(address);
  ForgetWithdrawn(now);
  const auto endpoint = Endpoint::Parse(update.endpoint());
  if (update.withdrawn() || !key || !endpoint) {
    if (known != peers_.end()) Withdraw(known, now);
    return;
  }
  // Another incarnation of that host has another key.
  if (known != peers_.end() && known->second.key != *key) Withdraw(known, now);
  if (auto old = withdrawn_.find(address); old != withdrawn_.end()) {
    if (old->second.key != *key) driver_.RemovePeer(old->second.key);
    withdrawn_.erase(old);
  }
  tunnel::PeerConfig config;
  config.public_key = *key;
  config.endpoint = *endpoint;
  config.allowed_ips = dual_stack_.HostPrefixes(address);
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
  // Of one that was withdrawn a moment ago.
  if (driver_.device().GetPeer(*key)->session_live) {
    OnSession(*key, true);
  } else {
    driver_.Connect(*key);
  }
}

void DirectPeers::Withdraw(Peers::iterator peer, Instant now) {
  const auto [address, known] = *peer;
  OnSession(known.key, false);
  addresses_.erase(known.key);
  peers_.erase(peer);
  auto config = driver_.device().GetPeerConfig(known.key);
  if (!config) return;
  config->receive_only = true;
  if (driver_.SetPeer(*config).ok()) {
    withdrawn_[address] = {known.key, now + kWithdrawalTakes};
  } else {
    driver_.RemovePeer(known.key);
  }
}

void DirectPeers::ForgetWithdrawn(Instant now) {
  absl::erase_if(withdrawn_, [&](const auto& entry) {
    const Withdrawn& peer = entry.second;
    if (peer.until > now) return false;
    driver_.RemovePeer(peer.key);
    return true;
  });
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
  auto found = peers_.find(dual_stack_.Plain(destination));
  if (found == peers_.end() || found->second.up) return;
  if (now - found->second.asked_at < kReconnectAfter) return;
  found->second.asked_at = now;
  driver_.Connect(found->second.key);
}

void DirectPeers::Describe(Instant now, proto::InstanceStatus& status) {
  ForgetWithdrawn(now);
  std::vector<std::pair<Instant, const IpAddress*>> latest;
  for (auto& [address, peer] : peers_) {
    const uint64_t bytes = driver_.device().TxDataBytes(peer.key);
    if (bytes == 0) continue;
    if (bytes != peer.sent_bytes) peer.sent_at = now;
    peer.sent_bytes = bytes;
    latest.emplace_back(peer.sent_at, &address);
  }
  const size_t told = std::min(latest.size(), kToldMax);
  std::partial_sort(latest.begin(), latest.begin() + static_cast<ptrdiff_t>(told), latest.end(),
                    [](const auto& a, const auto& b) { return a.first > b.first; });
  for (size_t i = 0; i < told; ++i) {
    const IpAddress& address = *latest[i].second;
    proto::PeerTraffic& peer = *status.add_peers();
    const auto bytes = address.bytes();
    peer.set_address(bytes.data(), bytes.size());
    peer.set_tx_bytes(peers_.at(address).sent_bytes);
  }
}

}  // namespace im::agent
