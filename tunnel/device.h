// Device: one WireGuard interface as a value. Bytes and `now` in, Outbox out.
//
// [W] WireGuard: Next Generation Kernel Network Tunnel (NDSS 2017, rev. of
//     2020-06-01), sections as cited at each member.
//
// Outbound: packets from inside → AllowedIPs (longest prefix) → peer → session
// (or staged until a handshake gives one, at most kStagedPacketsMax a peer,
// oldest dropped) → super-packets cut into segments → sealed → a DatagramRun
// for each peer and batch. Inbound: runs of datagrams → message type → session
// by index → opened → replay window → source check → coalesced → `inside`.
//
// Beyond [W], for Imaginary Machines (all off unless set; im-tunnel never
// sets them):
//  - PeerConfig::standby: the peer's AllowedIPs carry outbound packets only
//    while it has a live session, one in which no initiation had to be repeated
//    without an answer; until then the next shorter prefix does ("make before
//    break"). A packet that is thus passed on starts a handshake with the
//    standby peer, but not within kStandbyRetryTime after one was given up.
//  - PeerConfig::receive_only: nothing is routed to the peer any more and no
//    handshake begun for that; what it still sends is taken. For a peer that is
//    being withdrawn, until it has heard of it, too.
//  - PeerConfig::relay: an inbound packet of this peer is accepted when its
//    source lies in one of the peer's own AllowedIPs, even if another peer
//    owns a longer prefix: a packet may still come by way of the gateway when
//    the direct path is already up.
//  - PeerConfig::probe_mtu: the other end is one of ours, too: the path's MTU is
//    found by probing (path_mtu.h), and packets are made to fit it (fit_mtu.h);
//    and each end answers for the inner checksums of what it sends (vouching.h).
//  - PeerConfig::fit_mtu: the other end is a stock one, and others' packets reach it
//    by way of us, larger than it could send itself: they are made to fit
//    Options::mtu as a router would (fit_mtu.h).

#ifndef IM_TUNNEL_DEVICE_H_
#define IM_TUNNEL_DEVICE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/ip_address.h"
#include "base/packet.h"
#include "base/random.h"
#include "tunnel/constants.h"
#include "tunnel/keys.h"
#include "tunnel/outbox.h"

namespace im::tunnel {

struct PeerConfig {
  PublicKey public_key;
  PresharedKey preshared_key;  // zero: none
  std::optional<Endpoint> endpoint;
  std::vector<IpPrefix> allowed_ips;
  std::chrono::seconds persistent_keepalive{0};  // 0: off
  bool standby = false;
  bool receive_only = false;
  bool relay = false;
  bool probe_mtu = false;
  bool fit_mtu = false;  // means nothing beside probe_mtu
};

// A snapshot, for UAPI, `im ps` and tests.
struct PeerStatus {
  PublicKey public_key;
  PresharedKey preshared_key;
  std::optional<Endpoint> endpoint;
  std::vector<IpPrefix> allowed_ips;
  std::chrono::seconds persistent_keepalive{0};
  // Wall clock of the last completed handshake, nanoseconds since the epoch;
  // 0: never.
  int64_t last_handshake_unix_nanos = 0;
  uint64_t rx_bytes = 0;  // of datagrams, as `wg show` counts them
  uint64_t tx_bytes = 0;
  uint64_t tx_data_bytes = 0;  // of those: without handshakes, keepalives and probes
  bool session_live = false;
  int mtu = 0;  // the largest inner packet that now goes to it as one datagram
};

// Owned by one thread.
class Device {
 public:
  class Delegate {
   public:
    virtual ~Delegate() = default;
    // A session with the peer became usable in both directions (for the
    // responder: its first authenticated data message came), and there was none
    // before: renewals are not told. Called before packets of that message are
    // source-checked. The delegate may configure, connect and remove peers, and
    // send; it may not call OnDatagrams or OnTimer.
    virtual void OnSessionUp(const PublicKey& peer) = 0;
    // The last session expired, or the handshake was given up ([W] 6.4). Not
    // called for what the owner itself ends: RemovePeer, SetPrivateKey, SetPeer
    // with another preshared key, OnRestored. Comes out of OnTimer only.
    virtual void OnSessionDown(const PublicKey& peer) = 0;
  };

  struct Options {
    // Largest inner packet that leaves as one datagram, in bytes.
    int mtu = 1420;
    // Segments of TCP super-packets to our own ends are joined to packets of so
    // many bytes, where the path carries them; 0: never.
    int join_mtu = 0;
    // Shorter protocol times for tests; 1 is [W] 6.1. Divides every timer.
    int time_divisor = 1;
    // Messages of a session after which it is renewed, and those after which it
    // is dead. [W] 6.1 has these; tests cannot count so far.
    uint64_t rekey_after_messages = kRekeyAfterMessages;
    uint64_t reject_after_messages = kRejectAfterMessages;
    // Handshake messages above which cookies are asked for ([W] 5.3).
    int under_load_handshakes_per_second = kUnderLoadHandshakesPerSecond;
  };

  // `clock` is used for TAI64N stamps only. `random`, `clock`, `delegate` (may
  // be null) must outlive the device.
  Device(const PrivateKey& key, const Options& options, const Clock& clock, Random& random,
         Delegate* delegate);
  ~Device();

  // ---- configuration; takes effect at once, may add handshakes to `out` ----

  void SetPrivateKey(const PrivateKey& key);
  const PrivateKey& private_key() const;
  const PublicKey& public_key() const;
  void SetMtu(int mtu_bytes);

  // Down: sessions, handshakes and staged packets are forgotten, and no timer
  // runs; configuration and counters stay. Up, as at the start: peers with a
  // persistent keepalive are spoken to at once.
  void SetUp(bool up, Instant now, Outbox& out);

  // The state that the device lives in was saved and is taken up again: by a
  // virtual machine's snapshot, a checkpoint of the process, a hibernation. As
  // there may be another copy of it, and whatever both would seal from here on
  // would be under the same keys with the same nonces, all that they have in
  // common is forgotten: sessions, handshakes under way, cookies of both sides,
  // and what is timed by a clock that may have gone back. Keys are erased.
  // Packets are held for new handshakes, which begin at once with peers that
  // had a session, or packets to wait for one, if their endpoint is known. The
  // delegate is told when they are up. Configuration, counters and the greatest
  // stamps of both sides stay.
  //
  // The device cannot notice by itself that it has to be called: RestoreWatch
  // (base/restore_watch.h) hears of most causes. `random` must then give other
  // bytes than in the other copy, as SecureRandom does where the kernel has been
  // told. Nobody can repair what was sealed between the restore and this call,
  // or what a peer refuses until the wall clock is later than the last stamp
  // that it has seen ([W] 5.1: it takes none twice).
  void OnRestored(Instant now, Outbox& out);

  // Adds the peer or replaces its configuration as a whole; a session that is
  // up stays up unless the preshared key changed. An AllowedIP belongs to one
  // peer: the newest owner wins ([W] 2). An endpoint of nullopt keeps the
  // known one. InvalidArgument for our own public key.
  absl::Status SetPeer(const PeerConfig& peer, Instant now, Outbox& out);
  bool RemovePeer(const PublicKey& peer);
  void RemoveAllPeers();
  std::optional<PeerConfig> GetPeerConfig(const PublicKey& peer) const;
  // PeerStatus::tx_data_bytes alone; 0: there is no such peer.
  uint64_t TxDataBytes(const PublicKey& peer) const;
  std::optional<PeerStatus> GetPeer(const PublicKey& peer) const;
  std::vector<PeerStatus> ListPeers() const;
  // The peer that packets to `destination` go to now, if any.
  std::optional<PublicKey> Route(const IpAddress& destination) const;

  // Starts a handshake if the peer has no live session and none is under way.
  void Connect(const PublicKey& peer, Instant now, Outbox& out);

  // ---- data ----

  // Packets from inside. They are sealed into `out` or staged.
  void OnInsidePackets(PacketBatch& batch, Instant now, Outbox& out);
  // The same, to `peer` whatever AllowedIPs say (the gateway's relay knows).
  void SendTo(const PublicKey& peer, PacketBatch& batch, Instant now, Outbox& out);
  // Datagrams from outside. Decrypted in place: the batch's bytes are
  // clobbered, and `out.inside` holds copies.
  void OnDatagrams(DatagramBatch& batch, Instant now, Outbox& out);
  // A datagram with DatagramRun::probe set was too large for our own link.
  void OnProbeRefused(uint64_t probe, Instant now, Outbox& out);

  // ---- time ----

  // kNever: nothing is pending. May move after any call above.
  Instant NextDeadline() const;
  void OnTimer(Instant now, Outbox& out);

  const DropCounters& drops() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_DEVICE_H_
