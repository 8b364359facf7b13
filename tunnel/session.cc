#include "tunnel/session.h"

#include "base/check.h"

namespace im::tunnel {

Session::Session(const Parameters& parameters, const TransportKeys& keys,
                 const SessionLimits& limits)
    : parameters_(parameters), limits_(limits), sealer_(keys.send), opener_(keys.receive) {}

uint64_t Session::messages_left(Instant now) const {
  if (now >= expires() || next_counter_ >= limits_.reject_after_messages) return 0;
  return limits_.reject_after_messages - next_counter_;
}

uint64_t Session::TakeCounter() {
  // A nonce that comes twice gives the key away.
  IM_CHECK(next_counter_ < limits_.reject_after_messages);
  return next_counter_++;
}

bool Session::WantsRekeyAfterSend(Instant now) const {
  if (next_counter_ >= limits_.rekey_after_messages) return true;
  return initiator() && now - born() >= limits_.rekey_after;
}

bool Session::WantsRekeyAfterReceive(Instant now) const {
  return initiator() && now - born() >= limits_.rekey_on_receive_after;
}

}  // namespace im::tunnel
