#include "tunnel/device_state.h"

#include <utility>

namespace im::tunnel {

DeviceState::DeviceState(const PrivateKey& key, const Device::Options& device_options,
                         const Clock& device_clock, Random& device_random,
                         Device::Delegate* device_delegate)
    : options(device_options),
      clock(device_clock),
      random(device_random),
      delegate(device_delegate),
      times(device_options.time_divisor),
      limits{.rekey_after = times.rekey_after,
             .reject_after = times.reject_after,
             .rekey_on_receive_after =
                 times.reject_after - times.keepalive_timeout - times.rekey_timeout,
             .rekey_after_messages = device_options.rekey_after_messages,
             .reject_after_messages = device_options.reject_after_messages},
      identity(key),
      cookies(identity.public_key, times.cookie_refresh) {}

const SecretKey* DeviceState::SharedWith(Peer& peer) const {
  if (!peer.shared) {
    SecretKey shared;
    if (!X25519(shared, identity.private_key, peer.public_key)) return nullptr;
    peer.shared = shared;
  }
  return &*peer.shared;
}

std::unique_ptr<Session> DeviceState::MakeSession(Peer& peer, uint32_t local_index,
                                                  uint32_t remote_index, bool initiator,
                                                  const TransportKeys& keys, Instant now) {
  const Session::Parameters parameters{.peer_slot = peer.slot,
                                       .local_index = local_index,
                                       .remote_index = remote_index,
                                       .initiator = initiator,
                                       .born = now};
  auto session = std::make_unique<Session>(parameters, keys, limits);
  indices.SetSession(local_index, session.get());
  peer.timers.OnSessionMade(now);
  return session;
}

void DeviceState::ReleaseRetired(size_t first) {
  for (size_t i = first; i < retired.size(); ++i) indices.Release(retired[i]->local_index());
}

void DeviceState::DropPending(Peer& peer) {
  if (peer.pending == nullptr) return;
  indices.Release(peer.pending->local_index);
  peer.pending.reset();
}

void DeviceState::DropKeys(Peer& peer) {
  DropPending(peer);
  const size_t first = retired.size();
  peer.keypairs.Clear(retired);
  ReleaseRetired(first);
}

void DeviceState::OnSessionCurrent(Peer& peer) {
  peer.timers.OnHandshakeComplete();
  peer.timers.OnSessionCurrent(peer.keypairs.current()->expires());
  peer.unanswered = false;
  peer.standby_not_before = Instant{};
  peer.last_handshake_unix_nanos = clock.UnixNanos();
  if (peer.path_mtu != nullptr) peer.path_mtu->OnPeerHeard();
}

void DeviceState::TellUp(Peer& peer) {
  if (peer.up) return;
  peer.up = true;
  if (delegate != nullptr) delegate->OnSessionUp(peer.public_key);
}

void DeviceState::TellDown(Peer& peer) {
  peer.up = false;
  if (delegate != nullptr) delegate->OnSessionDown(peer.public_key);
}

void DeviceState::Roam(Peer& peer, const Endpoint& endpoint, const IpAddress& local) {
  if (peer.path_mtu != nullptr && peer.endpoint != endpoint) peer.path_mtu->OnPathChanged();
  peer.endpoint = endpoint;
  peer.local = local;
}

void DeviceState::SendHandshakeMessage(Peer& peer, Bytes message, Outbox& out) {
  out.datagrams.AddCopy(*peer.endpoint, message);
  out.datagrams.runs().back().local = peer.local;
  peer.tx_bytes += message.size();
}

}  // namespace im::tunnel
