// PeerTimers: what a peer has to do when, [W] 6. No clock, no action: events
// in, deadlines out; the owner acts on what PopDue names.
//
//   timer               set by                                 cleared by
//   retransmit          initiation sent                        handshake complete, given up
//   keepalive           data received (if not set)             anything authentic sent
//   new_handshake       data sent (if not set)                 anything authentic received
//   persistent          anything authentic sent or received    -
//   session_expiry      a session became current               given up
//   zero_keys           a session was made, given up (if not set)  -
//
// A keepalive is no data: it sets neither `keepalive` nor `new_handshake`, so
// that keepalives never answer each other.

#ifndef IM_TUNNEL_TIMERS_H_
#define IM_TUNNEL_TIMERS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/random.h"
#include "tunnel/constants.h"

namespace im::tunnel {

enum class PeerTimer : uint8_t {
  kRetransmit,     // send the initiation again, or give up: attempts()
  kKeepalive,      // [W] 6.5: we have received, and sent nothing back
  kNewHandshake,   // [W] 6.5: we have sent, and heard nothing back
  kPersistent,     // keep NATs open
  kSessionExpiry,  // no session to send under is left
  kZeroKeys,       // [W] 6.3: forget all keys
  kCount,
};

class PeerTimers {
 public:
  // `times` must outlive it.
  explicit PeerTimers(const ProtocolTimes& times) : times_(&times) { at_.fill(kNever); }

  // ---- events ----
  void OnInitiationSent(Instant now, Random& random);
  // An initiation is wanted, but may not be sent before `at`.
  void OnInitiationPostponed(Instant at) { Set(PeerTimer::kRetransmit, at); }
  void OnHandshakeComplete();
  void OnSessionMade(Instant now);
  void OnSessionCurrent(Instant expires) { Set(PeerTimer::kSessionExpiry, expires); }
  void OnDataSent(Instant now, Random& random);
  void OnDataReceived(Instant now);
  void OnAuthenticSent(Instant now);
  void OnAuthenticReceived(Instant now);
  void OnGivenUp(Instant now);
  void SetPersistentKeepalive(Duration interval, Instant now);
  // All but persistent keepalive's interval.
  void Reset();

  // ---- deadlines ----
  Instant next() const;
  // A timer that is due, which is thereby cleared.
  std::optional<PeerTimer> PopDue(Instant now);

  // An initiation is out and not answered.
  bool handshake_under_way() const { return pending(PeerTimer::kRetransmit); }
  // Initiations sent in a row since the first of this attempt.
  int attempts() const { return attempts_; }
  void StartAttempt() { attempts_ = 0; }
  // [W] 6.4: the attempt has lasted kRekeyAttemptTime.
  bool attempt_exhausted() const;

 private:
  Instant& at(PeerTimer timer) { return at_[static_cast<size_t>(timer)]; }
  bool pending(PeerTimer timer) const { return at_[static_cast<size_t>(timer)] != kNever; }
  void Set(PeerTimer timer, Instant deadline) { at(timer) = deadline; }
  void Clear(PeerTimer timer) { at(timer) = kNever; }
  Duration Jitter(Random& random) const;

  const ProtocolTimes* times_;
  std::array<Instant, static_cast<size_t>(PeerTimer::kCount)> at_;
  Duration persistent_interval_{0};
  std::optional<Duration> silence_jitter_;  // of kNewHandshake
  int attempts_ = 0;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_TIMERS_H_
