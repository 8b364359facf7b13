// ChaCha20-Poly1305 for transport data, a batch of jobs at a time.
//
// The interface is a batch on purpose: a library that seals several packets in
// the lanes of one vector unit can be put behind it without a change outside.
//
// Bulk data goes through OpenSSL's EVP, with one context for each key and
// direction; a job sets nothing but the nonce. But OpenSSL registers every
// cipher that it has before it gives one out, which takes most of a
// millisecond: longer than all else that a fresh instance does before its
// first packet. So a process begins with libsodium, which is half as fast and
// ready at once, and goes over to EVP when a key has seen kEvpBytes. A host
// that is quiet never does.

#ifndef IM_TUNNEL_AEAD_H_
#define IM_TUNNEL_AEAD_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "tunnel/crypto.h"

struct evp_cipher_ctx_st;  // OpenSSL's EVP_CIPHER_CTX

namespace im::tunnel {

// Bytes under one key after which EVP is worth its start: libsodium takes as
// long for a megabyte as EVP's start.
inline constexpr uint64_t kEvpBytes = 1 << 20;

// One message under the nonce 0^32 || counter (little-endian), [W] 5.4.6.
// `out` may be `in`.
struct AeadJob {
  const uint8_t* in = nullptr;
  uint8_t* out = nullptr;
  uint32_t size = 0;  // plaintext bytes; the tag's kTagBytes come behind
  bool ok = false;    // Open: authentic
  uint64_t counter = 0;
};

// A key for one direction, and how it is used now.
class AeadKey {
 public:
  explicit AeadKey(const SecretKey& key) : key_(key) {}
  ~AeadKey();
  AeadKey(const AeadKey&) = delete;
  AeadKey& operator=(const AeadKey&) = delete;

 protected:
  // True if EVP is to be used for `jobs`; makes the context then.
  bool UsesEvp(std::span<const AeadJob> jobs, bool seal);

  SecretKey key_;
  evp_cipher_ctx_st* evp_ = nullptr;
  uint64_t bytes_ = 0;
};

class AeadSealer : private AeadKey {
 public:
  using AeadKey::AeadKey;

  // Writes size + kTagBytes bytes to each job's `out`.
  void Seal(std::span<const AeadJob> jobs);
};

class AeadOpener : private AeadKey {
 public:
  using AeadKey::AeadKey;

  // Reads size + kTagBytes bytes of each job's `in`, writes `size` to `out`
  // and sets `ok`. Where not ok, `out` is clobbered and means nothing.
  void Open(std::span<AeadJob> jobs);
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_AEAD_H_
