// Keypairs: a peer's up to three sessions.
//
//   next      made as responder, not yet used by the initiator: receive only
//   current   what we seal under
//   previous  what current replaced: receive only, for what is under way
//
//   event                              next        current     previous
//   BeginAsInitiator(s)                -           s           next, else current
//   BeginAsResponder(s)                s           (stays)     (stays)
//   received on next                   -           next        current
//   received on previous, see below    (stays)     previous    current
//
// When both ends initiate at once, two sessions come up, and each end would
// seal under its own for good, both renewing at the same time ever after. So
// both settle on the one whose initiator has the smaller public key: whoever
// receives on it as `previous` takes it as current.

#ifndef IM_TUNNEL_KEYPAIRS_H_
#define IM_TUNNEL_KEYPAIRS_H_

#include <memory>
#include <vector>

#include "tunnel/session.h"

namespace im::tunnel {

class Keypairs {
 public:
  using Retired = std::vector<std::unique_ptr<Session>>;

  Session* current() const { return current_.get(); }
  Session* previous() const { return previous_.get(); }
  Session* next() const { return next_.get(); }

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

  std::unique_ptr<Session> current_;
  std::unique_ptr<Session> previous_;
  std::unique_ptr<Session> next_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_KEYPAIRS_H_
