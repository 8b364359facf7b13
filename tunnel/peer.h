// Peer: all that a device knows of one other end.
//
// A plain record: Handshaker, Sender, Receiver and Device act on it. Its
// AllowedIPs lie in AllowedIps under its slot.

#ifndef IM_TUNNEL_PEER_H_
#define IM_TUNNEL_PEER_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/ip_address.h"
#include "tunnel/cookie.h"
#include "tunnel/handshake.h"
#include "tunnel/keypairs.h"
#include "tunnel/keys.h"
#include "tunnel/mtu_notices.h"
#include "tunnel/path_mtu.h"
#include "tunnel/staged_packets.h"
#include "tunnel/tai64n.h"
#include "tunnel/timers.h"

namespace im::tunnel {

struct Peer {
  Peer(uint32_t peer_slot, const PublicKey& key, const ProtocolTimes& times)
      : slot(peer_slot), public_key(key), timers(times) {}
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  const uint32_t slot;
  const PublicKey public_key;

  // ---- configuration ----
  PresharedKey preshared_key;
  std::chrono::seconds persistent_keepalive{0};
  bool standby = false;
  bool receive_only = false;
  bool relay = false;
  bool fit_mtu = false;
  std::unique_ptr<PathMtu> path_mtu;  // null: not probed

  // ---- where it is: configured, then wherever it last spoke from ----
  std::optional<Endpoint> endpoint;
  IpAddress local;  // the address of ours that it spoke to

  // ---- keys ----
  std::optional<SecretKey> shared;             // DH of the static keys, once needed
  std::unique_ptr<PendingInitiation> pending;  // our initiation that is out
  Keypairs keypairs;
  CookieHolder cookie;

  // ---- handshake limits ----
  Tai64n greatest_stamp;       // of initiations from it
  int64_t last_own_stamp = 0;  // of initiations to it
  std::optional<Instant> last_initiation_taken;
  std::optional<Instant> last_initiation_sent;
  Instant standby_not_before{};  // kStandbyRetryTime

  // ---- state ----
  PeerTimers timers;
  StagedPackets staged;
  // The delegate was told that a session is up, and not yet that it is down.
  bool up = false;
  // An initiation had to be repeated, and nothing has come since.
  bool unanswered = false;
  // RemovePeer was called; gone when the outermost call of the device ends.
  bool removed = false;

  // A TCP sender was told of the path's MTU, though nothing was lost.
  Instant told_mtu{};
  MtuNotices mtu_notices;

  // ---- counters ----
  uint64_t rx_bytes = 0;
  uint64_t tx_bytes = 0;
  uint64_t tx_data_bytes = 0;
  int64_t last_handshake_unix_nanos = 0;

  // ---- scratch of Sender: the peer's packets in the batch at hand ----
  uint64_t batch_number = 0;
  uint32_t batch_first = 0;
  uint32_t batch_last = 0;

  // Fit to carry packets that could go another way.
  bool live() const { return up && !unanswered; }
  // Packets are routed to it.
  bool carries() const { return !receive_only && (!standby || live()); }
  // The current session if it can still seal; null otherwise.
  Session* SendingSession(Instant now) const {
    Session* session = keypairs.current();
    return session != nullptr && session->CanSend(now) ? session : nullptr;
  }
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_PEER_H_
