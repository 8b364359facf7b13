// MAC1, MAC2 and cookies: what a handshake message must show before it is
// worth any Curve25519, [W] 5.3, 5.4.4, 5.4.7.
//
// MAC1 proves knowledge of our public key. Under load we also want MAC2, made
// with a cookie: the MAC of the sender's address and port under a secret that
// changes every two minutes. Who can show it receives at that address, so it
// can be rate-limited by it. A cookie reply is sealed and bound to the MAC1 of
// the message that it answers.

#ifndef IM_TUNNEL_COOKIE_H_
#define IM_TUNNEL_COOKIE_H_

#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/ip_address.h"
#include "base/random.h"
#include "tunnel/crypto.h"
#include "tunnel/keys.h"
#include "tunnel/message.h"

namespace im::tunnel {

// The answering side: checks what comes, hands out cookies.
class CookieJar {
 public:
  // `refresh` is how long a secret is used.
  CookieJar(const PublicKey& ours, Duration refresh);

  // `message` is a whole initiation or response.
  bool Mac1IsRight(Bytes message) const;
  // Whether it shows any MAC2 at all.
  static bool ShowsMac2(Bytes message);
  // With a cookie made for this source not longer than `refresh` ago.
  bool Mac2IsRight(Bytes message, const Endpoint& source, Instant now) const;

  // A cookie for the sender of `message`, whose MAC1 is right.
  CookieReplyMessage Reply(Bytes message, uint32_t receiver, const Endpoint& source, Instant now,
                           Random& random);

 private:
  Mac CookieFor(const Endpoint& source) const;

  Hash mac1_key_;
  Hash cookie_key_;
  Duration refresh_;
  SecretKey secret_;
  std::optional<Instant> secret_born_;
};

// The asking side: one for each peer. Small, since most never see a cookie.
class CookieHolder {
 public:
  // Fills MAC1 and, with a fresh cookie, MAC2 of a message to `peer`.
  // `message` is a whole initiation or response. `refresh` as above.
  void AddMacs(std::span<uint8_t> message, const PublicKey& peer, Instant now, Duration refresh);

  // False if the reply is not authentic, or answers nothing that we sent.
  bool Take(const CookieReplyMessage& reply, const PublicKey& peer, Instant now);

 private:
  std::optional<Mac> last_mac1_;
  Mac cookie_{};
  std::optional<Instant> cookie_born_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_COOKIE_H_
