// Session: one pair of transport keys with its counters and limits, [W] 5.4.6
// and 6.2.

#ifndef IM_TUNNEL_SESSION_H_
#define IM_TUNNEL_SESSION_H_

#include <cstdint>
#include <span>

#include "base/clock.h"
#include "tunnel/aead.h"
#include "tunnel/constants.h"
#include "tunnel/handshake.h"
#include "tunnel/replay_window.h"

namespace im::tunnel {

// When a session is to be renewed and when it is dead.
struct SessionLimits {
  Duration rekey_after;
  Duration reject_after;
  // [W] 6.2: an initiator that receives on a session this old renews it, since
  // it may have nothing to send for the rest of the session's life.
  Duration rekey_on_receive_after;
  uint64_t rekey_after_messages = kRekeyAfterMessages;
  uint64_t reject_after_messages = kRejectAfterMessages;
};

class Session {
 public:
  struct Parameters {
    uint32_t peer_slot = 0;
    uint32_t local_index = 0;   // ours: in messages to us
    uint32_t remote_index = 0;  // theirs
    bool initiator = false;     // we sent the initiation
    Instant born;
  };

  // `limits` must outlive the session.
  Session(const Parameters& parameters, const TransportKeys& keys, const SessionLimits& limits);

  uint32_t peer_slot() const { return parameters_.peer_slot; }
  uint32_t local_index() const { return parameters_.local_index; }
  uint32_t remote_index() const { return parameters_.remote_index; }
  bool initiator() const { return parameters_.initiator; }
  Instant born() const { return parameters_.born; }
  Instant expires() const { return parameters_.born + limits_.reject_after; }

  // Messages that may still be sealed; 0 once the session is dead.
  uint64_t messages_left(Instant now) const;
  bool CanSend(Instant now) const { return messages_left(now) != 0; }
  bool CanReceive(Instant now) const { return now < expires(); }
  // The next nonce. Preconditions: messages_left() > 0.
  uint64_t TakeCounter();
  bool used() const { return next_counter_ != 0; }
  void Seal(std::span<const AeadJob> jobs) { sealer_.Seal(jobs); }

  // False for counters that cannot be new; asked before opening.
  bool MayAccept(uint64_t counter) const {
    return counter < limits_.reject_after_messages && window_.MayAccept(counter);
  }
  void Open(std::span<AeadJob> jobs) { opener_.Open(jobs); }
  // For an authentic message: false if it is a replay.
  bool Accept(uint64_t counter) { return window_.Accept(counter); }

  // [W] 6.2: time for a new handshake, after sending or receiving.
  bool WantsRekeyAfterSend(Instant now) const;
  bool WantsRekeyAfterReceive(Instant now) const;

 private:
  Parameters parameters_;
  const SessionLimits& limits_;
  AeadSealer sealer_;
  AeadOpener opener_;
  uint64_t next_counter_ = 0;
  ReplayWindow window_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_SESSION_H_
