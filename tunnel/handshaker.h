// Handshaker: starts handshakes, answers them, and turns them into sessions.
//
// What a handshake message must pass, cheapest first ([W] 5.3, 5.4):
//   [0] under load, an initiation without MAC2: its source
//       has not yet had all the cookie replies it gets  else kRateLimited
//   [1] MAC1: the sender knows our public key          else kBadMac
//   [2] a response: its index is of an initiation out  else kUnknownIndex
//   [3] under load: MAC2 by our cookie                 else a cookie reply
//   [4] under load: the source's rate limit            else kRateLimited
//   [5] it opens; the key is of a peer                 else kDecryptFailed, kUnknownPeer
//   [6] an initiation: its stamp is later than any     else kStaleTimestamp
//   [7] an initiation: not too many from this peer     else kRateLimited
// Only then does it change anything, the peer's endpoint included. A cookie
// reply changes nothing but the cookie.

#ifndef IM_TUNNEL_HANDSHAKER_H_
#define IM_TUNNEL_HANDSHAKER_H_

#include "base/clock.h"
#include "tunnel/device_state.h"
#include "tunnel/load_meter.h"
#include "tunnel/message.h"
#include "tunnel/outbox.h"
#include "tunnel/rate_limiter.h"

namespace im::tunnel {

class Handshaker {
 public:
  explicit Handshaker(DeviceState& state);

  // Begins an attempt unless one is under way, or nobody knows where the peer
  // is. Does not send before kRekeyTimeout after the last initiation.
  void Start(Peer& peer, Instant now, Outbox& out);
  // Begins a new attempt in any case.
  void StartAnew(Peer& peer, Instant now, Outbox& out);
  // The retransmit timer fired. False if the attempt was given up instead.
  bool Retry(Peer& peer, Instant now, Outbox& out);

  // Handles a message of any type but kTransport that came from `run`. Returns
  // the peer if its session can now be used and a first message is due from us.
  Peer* OnMessage(MessageType type, Bytes message, const DatagramRun& run, Instant now,
                  Outbox& out);

  // As at the start: nobody has sent anything yet.
  void ForgetLoad();

 private:
  void SendInitiation(Peer& peer, Instant now, Outbox& out);
  // [0]
  bool IsOneOfAFlood(MessageType type, Bytes message, const DatagramRun& run, Instant now) const;
  // [3] and [4].
  bool PassesLoadChecks(Bytes message, uint32_t sender, const DatagramRun& run, Instant now,
                        Outbox& out);
  void OnInitiation(Bytes message, const DatagramRun& run, Instant now, Outbox& out);
  Peer* OnResponse(Bytes message, const DatagramRun& run, Instant now, Outbox& out);
  void OnCookieReply(Bytes message, Instant now);
  void SendResponse(Peer& peer, const OpenedInitiation& opened, Instant now, Outbox& out);
  bool Drop(DropReason reason) {
    state_.drops.Add(reason);
    return false;
  }
  // What we had to compute for.
  void Waste(DropReason reason, Instant now) {
    load_.CountWasted(now);
    Drop(reason);
  }

  DeviceState& state_;
  LoadMeter load_;
  RateLimiter sources_;
  RateLimiter cookie_replies_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_HANDSHAKER_H_
