// ChaCha20-Poly1305 for transport data, a batch of jobs at a time.
//
// Bulk data goes through Intel's IPsec-MB where it is the faster one
// (ipsec_mb.h), else through OpenSSL's EVP with one context for each key and
// direction; a job sets nothing but the nonce. All give the same bytes. One of
// them may be asked for (tuning.h); what cannot be used is never used.
//
// Both take their time to start: OpenSSL registers every cipher that it has
// before it gives one out, IPsec-MB tests itself. That is most of a
// millisecond, longer than all else that a fresh instance does before its
// first packet. So a process begins with libsodium, which is half as fast and
// ready at once, and goes over when a key has seen kBulkBytes. A host that is
// quiet never does.

#ifndef IM_TUNNEL_AEAD_H_
#define IM_TUNNEL_AEAD_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "tunnel/crypto.h"
#include "tunnel/tuning.h"

struct evp_cipher_ctx_st;  // OpenSSL's EVP_CIPHER_CTX

namespace im::tunnel {

// Bytes under one key after which a library for bulk data is worth its start:
// libsodium takes as long for a megabyte.
inline constexpr uint64_t kBulkBytes = 1 << 20;

// One message under the nonce 0^32 || counter (little-endian), [W] 5.4.6.
// `out` may be `in`.
struct AeadJob {
  const uint8_t* in = nullptr;
  uint8_t* out = nullptr;
  uint32_t size = 0;  // plaintext bytes; the tag's kTagBytes come behind
  bool ok = false;    // Open: authentic
  uint64_t counter = 0;
};

// A key for one direction, and how it is used now. Not for two threads at a
// time.
class AeadKey {
 public:
  // `library`: anything but kAuto is used from the first byte on, if it can be.
  explicit AeadKey(const SecretKey& key, AeadLibrary library = Tuning::ByEnvironment().aead)
      : key_(key), library_(library) {}
  ~AeadKey();
  AeadKey(const AeadKey&) = delete;
  AeadKey& operator=(const AeadKey&) = delete;

 protected:
  enum class Engine { kSodium, kEvp, kIpsecMb };

  // What is to be used for `jobs`; makes EVP's context if that is it. The
  // manager of IPsec-MB is the thread's, so no key keeps it.
  Engine EngineFor(std::span<const AeadJob> jobs, bool seal);

  SecretKey key_;
  const AeadLibrary library_;
  bool bulk_ = false;  // libsodium's time is over
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
