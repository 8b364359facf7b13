// ChaCha20-Poly1305 for transport data, a batch of jobs at a time.
//
// The interface is a batch on purpose: a library that seals several packets in
// the lanes of one vector unit can be put behind it without a change outside.
// Here it is OpenSSL's EVP with one context for each key and direction; a job
// sets nothing but the nonce.

#ifndef IM_TUNNEL_AEAD_H_
#define IM_TUNNEL_AEAD_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "tunnel/crypto.h"

namespace im::tunnel {

// One message under the nonce 0^32 || counter (little-endian), [W] 5.4.6.
// `out` may be `in`.
struct AeadJob {
  const uint8_t* in = nullptr;
  uint8_t* out = nullptr;
  uint32_t size = 0;  // plaintext bytes; the tag's kTagBytes come behind
  bool ok = false;    // Open: authentic
  uint64_t counter = 0;
};

class AeadSealer {
 public:
  explicit AeadSealer(const SecretKey& key);
  ~AeadSealer();

  // Writes size + kTagBytes bytes to each job's `out`.
  void Seal(std::span<const AeadJob> jobs);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

class AeadOpener {
 public:
  explicit AeadOpener(const SecretKey& key);
  ~AeadOpener();

  // Reads size + kTagBytes bytes of each job's `in`, writes `size` to `out`
  // and sets `ok`. Where not ok, `out` is clobbered and means nothing.
  void Open(std::span<AeadJob> jobs);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_AEAD_H_
