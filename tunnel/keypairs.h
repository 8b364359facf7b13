// Keypairs: a peer's sessions, up to three but for moments.
//
//   next      made as responder, not yet used by the initiator: receive only
//   current   what we seal under
//   previous  what current replaced: receive only, for what is under way
//   older     receive only, until the next change: current, where next became
//             previous; or previous, where current came less than kUnderWay ago
//
//   event                              next        current     previous
//   BeginAsInitiator(s)                -           s           next, else current
//   BeginAsResponder(s)                s           (stays)     (stays)
//   received on next                   -           next        current
//   received on previous, see below    (stays)     previous    current
//
// When both ends initiate at once, two sessions come up, and each end would
// seal under its own for good, both renewing at the same time ever after; or
// each under the other's, and nobody would renew. So both settle on the one
// whose initiator has the smaller public key: whoever receives on it as
// `previous` takes it as current.

#ifndef IM_TUNNEL_KEYPAIRS_H_
#define IM_TUNNEL_KEYPAIRS_H_

#include <chrono>
#include <memory>
#include <vector>

#include "tunnel/session.h"

namespace im::tunnel {

// The longest that a packet is thought to be under way.
inline constexpr Duration kUnderWay = std::chrono::seconds(5);

class Keypairs {
 public:
  using Retired = std::vector<std::unique_ptr<Session>>;

  Session* current() const { return current_.get(); }
  Session* previous() const { return previous_.get(); }
  Session* next() const { return next_.get(); }
  Session* older() const { return older_.get(); }
  bool any() const {
    return current_ != nullptr || previous_ != nullptr || next_ != nullptr || older_ != nullptr;
  }

  // Sessions that lose their place go to `retired`.
  void BeginAsInitiator(std::unique_ptr<Session> session, Retired& retired);
  void BeginAsResponder(std::unique_ptr<Session> session, Retired& retired);

  // An authentic, new message came on `session`. True if that confirmed it:
  // it was `next`. `remote_key_is_smaller` than ours; `crossing` is how far
  // apart two sessions are born that count as initiated at once.
  bool ReceivedOn(const Session& session, bool remote_key_is_smaller, Duration crossing,
                  Retired& retired);

  void Clear(Retired& retired);

 private:
  static void Retire(std::unique_ptr<Session>& session, Retired& retired);
  // `session` loses its place, which it owed to `successor`'s coming, at `now`.
  void Displace(std::unique_ptr<Session>& session, const Session* successor, Instant now,
                Retired& retired);

  std::unique_ptr<Session> current_;
  std::unique_ptr<Session> previous_;
  std::unique_ptr<Session> next_;
  std::unique_ptr<Session> older_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_KEYPAIRS_H_
