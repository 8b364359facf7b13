#include "tunnel/cookie.h"

#include <cstring>

#include "absl/strings/string_view.h"

namespace im::tunnel {
namespace {

Hash LabelledKey(absl::string_view label, const PublicKey& key) {
  return Blake2s({{reinterpret_cast<const uint8_t*>(label.data()), label.size()}, key.bytes});
}

Hash Mac1Key(const PublicKey& receiver) { return LabelledKey("mac1----", receiver); }
Hash CookieKey(const PublicKey& receiver) { return LabelledKey("cookie--", receiver); }

Bytes Mac1Of(Bytes message) {
  return message.subspan(message.size() - 2 * kMacBytes, kMacBytes);
}
Bytes Mac2Of(Bytes message) { return message.last(kMacBytes); }

}  // namespace

CookieJar::CookieJar(const PublicKey& ours, Duration refresh)
    : mac1_key_(Mac1Key(ours)), cookie_key_(CookieKey(ours)), refresh_(refresh) {}

bool CookieJar::Mac1IsRight(Bytes message) const {
  return EqualConstantTime(KeyedMac(mac1_key_, BytesBeforeMac1(message)), Mac1Of(message));
}

bool CookieJar::ShowsMac2(Bytes message) { return !EqualConstantTime(Mac2Of(message), Mac()); }

bool CookieJar::Mac2IsRight(Bytes message, const Endpoint& source, Instant now) const {
  if (!secret_born_ || now - *secret_born_ >= refresh_) return false;
  // None is shown by most who are asked for it: two MACs saved.
  if (!ShowsMac2(message)) return false;
  return EqualConstantTime(KeyedMac(CookieFor(source), BytesBeforeMac2(message)), Mac2Of(message));
}

CookieReplyMessage CookieJar::Reply(Bytes message, uint32_t receiver, const Endpoint& source,
                                    Instant now, Random& random) {
  if (!secret_born_ || now - *secret_born_ >= refresh_) {
    random.Fill(secret_.bytes());
    secret_born_ = now;
  }
  CookieReplyMessage reply;
  reply.receiver = receiver;
  random.Fill(reply.nonce);
  XAeadSeal(reply.sealed_cookie, cookie_key_, reply.nonce, CookieFor(source), Mac1Of(message));
  return reply;
}

// The port belongs to it: several senders may share an address.
Mac CookieJar::CookieFor(const Endpoint& source) const {
  std::array<uint8_t, 18> bytes;
  std::memcpy(bytes.data(), source.address.mapped().data(), 16);
  bytes[16] = static_cast<uint8_t>(source.port >> 8);
  bytes[17] = static_cast<uint8_t>(source.port);
  return KeyedMac(secret_.bytes(), bytes);
}

void CookieHolder::AddMacs(std::span<uint8_t> message, const PublicKey& peer, Instant now,
                           Duration refresh) {
  const Mac mac1 = KeyedMac(Mac1Key(peer), BytesBeforeMac1(message));
  std::memcpy(message.data() + message.size() - 2 * kMacBytes, mac1.data(), mac1.size());
  last_mac1_ = mac1;
  Mac mac2{};
  if (cookie_born_ && now - *cookie_born_ < refresh)
    mac2 = KeyedMac(cookie_, BytesBeforeMac2(message));
  std::memcpy(message.data() + message.size() - kMacBytes, mac2.data(), mac2.size());
}

bool CookieHolder::Take(const CookieReplyMessage& reply, const PublicKey& peer, Instant now) {
  if (!last_mac1_) return false;
  Mac cookie;
  if (!XAeadOpen(cookie, CookieKey(peer), reply.nonce, reply.sealed_cookie, *last_mac1_))
    return false;
  cookie_ = cookie;
  cookie_born_ = now;
  // A second reply to the same message says nothing new.
  last_mac1_.reset();
  return true;
}

}  // namespace im::tunnel
