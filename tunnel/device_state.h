// DeviceState: the tables of a device, and what several of its parts do to
// them. Device owns it; Handshaker, Sender and Receiver share it.

#ifndef IM_TUNNEL_DEVICE_STATE_H_
#define IM_TUNNEL_DEVICE_STATE_H_

#include <algorithm>

#include "base/clock.h"
#include "base/counters.h"
#include "base/random.h"
#include "tunnel/allowed_ips.h"
#include "tunnel/cookie.h"
#include "tunnel/deadline_heap.h"
#include "tunnel/device.h"
#include "tunnel/index_table.h"
#include "tunnel/peer_table.h"
#include "tunnel/tai64n.h"

namespace im::tunnel {

struct DeviceState {
  DeviceState(const PrivateKey& key, const Device::Options& device_options,
              const Clock& device_clock, Random& device_random, Device::Delegate* device_delegate);

  Device::Options options;
  const Clock& clock;
  Random& random;
  Device::Delegate* const delegate;
  const ProtocolTimes times;
  const SessionLimits limits;

  Identity identity;
  CookieJar cookies;
  StampSource stamps;
  PeerTable peers;
  AllowedIps allowed_ips;
  IndexTable indices;
  DeadlineHeap deadlines;
  DropCounters drops;
  // Sessions that lost their place; freed when the outermost call ends.
  Keypairs::Retired retired;

  // The DH of the static keys; null if the peer's key is of low order.
  const SecretKey* SharedWith(Peer& peer) const;

  // Makes a session of the keys. `local_index` is taken already.
  std::unique_ptr<Session> MakeSession(Peer& peer, uint32_t local_index, uint32_t remote_index,
                                       bool initiator, const TransportKeys& keys, Instant now);
  // Takes the indices of sessions in `retired` from `first` on.
  void ReleaseRetired(size_t first);
  void DropPending(Peer& peer);
  // Forgets all keys of the peer.
  void DropKeys(Peer& peer);

  // A handshake is complete and `current` its session.
  void OnSessionCurrent(Peer& peer);
  // Tells the delegate, once.
  void TellUp(Peer& peer);
  void TellDown(Peer& peer);

  // The peer spoke from there.
  void Roam(Peer& peer, const Endpoint& endpoint, const IpAddress& local);

  // A datagram of one handshake message to the peer.
  void SendHandshakeMessage(Peer& peer, Bytes message, Outbox& out);

  // The peer's timers may have changed.
  void Reschedule(Peer& peer) {
    if (peer.removed) return;
    const Instant probe = peer.path_mtu == nullptr ? kNever : peer.path_mtu->next();
    deadlines.Set(peer.slot, std::min(peer.timers.next(), probe));
  }
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_DEVICE_STATE_H_
