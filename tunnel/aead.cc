#include "tunnel/aead.h"

#include <openssl/evp.h>
#include <sodium.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "base/check.h"
#include "tunnel/ipsec_mb.h"

namespace im::tunnel {
namespace {

using Nonce = std::array<uint8_t, crypto_aead_chacha20poly1305_IETF_NPUBBYTES>;

Nonce NonceOf(uint64_t counter) {
  Nonce nonce{};
  for (int i = 0; i < 8; ++i) nonce[4 + i] = static_cast<uint8_t>(counter >> (8 * i));
  return nonce;
}

// A library for bulk data has been started.
std::atomic<bool> bulk_is_ready{false};

const EVP_CIPHER* ChaCha20Poly1305() {
  static const EVP_CIPHER* const cipher = [] {
    InitCrypto();
    return EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
  }();
  IM_CHECK(cipher != nullptr);
  return cipher;
}

bool SealWithEvp(EVP_CIPHER_CTX* evp, const AeadJob& job) {
  const Nonce nonce = NonceOf(job.counter);
  int n = 0;
  bool ok = EVP_EncryptInit_ex2(evp, nullptr, nullptr, nonce.data(), nullptr) == 1;
  if (job.size != 0)
    ok = ok && EVP_EncryptUpdate(evp, job.out, &n, job.in, static_cast<int>(job.size)) == 1;
  return ok && EVP_EncryptFinal_ex(evp, job.out + job.size, &n) == 1 &&
         EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_GET_TAG, kTagBytes, job.out + job.size) == 1;
}

bool OpenWithEvp(EVP_CIPHER_CTX* evp, const AeadJob& job) {
  const Nonce nonce = NonceOf(job.counter);
  // OpenSSL takes the tag as not const, but only copies it.
  uint8_t* tag = const_cast<uint8_t*>(job.in) + job.size;
  uint8_t none[1];
  int n = 0;
  bool ok = EVP_DecryptInit_ex2(evp, nullptr, nullptr, nonce.data(), nullptr) == 1 &&
            EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag) == 1;
  if (job.size != 0)
    ok = ok && EVP_DecryptUpdate(evp, job.out, &n, job.in, static_cast<int>(job.size)) == 1;
  return ok && EVP_DecryptFinal_ex(evp, none, &n) == 1;
}

void SealWithSodium(const SecretKey& key, const AeadJob& job) {
  crypto_aead_chacha20poly1305_ietf_encrypt(job.out, nullptr, job.in, job.size, nullptr, 0, nullptr,
                                            NonceOf(job.counter).data(), key.bytes().data());
}

bool OpenWithSodium(const SecretKey& key, const AeadJob& job) {
  return crypto_aead_chacha20poly1305_ietf_decrypt(
             job.out, nullptr, nullptr, job.in, job.size + kTagBytes, nullptr, 0,
             NonceOf(job.counter).data(), key.bytes().data()) == 0;
}

}  // namespace

// EVP wipes its copy of the key.
AeadKey::~AeadKey() { EVP_CIPHER_CTX_free(evp_); }

AeadKey::Engine AeadKey::EngineFor(std::span<const AeadJob> jobs, bool seal) {
  size_t size_max = 0;
  for (const AeadJob& job : jobs) {
    bytes_ += job.size;
    size_max = std::max<size_t>(size_max, job.size);
  }
  if (!bulk_) {
    // Where they run already, a context is cheap, but still a kilobyte.
    const bool ready = bulk_is_ready.load(std::memory_order_relaxed);
    if (library_ == AeadLibrary::kAuto && bytes_ < (ready ? kBulkBytes / 64 : kBulkBytes)) {
      InitCrypto();
      return Engine::kSodium;
    }
    bulk_ = true;
    bulk_is_ready.store(true, std::memory_order_relaxed);
  }
  if (library_ != AeadLibrary::kOpenSsl) {
    const IpsecMb* const ipsec_mb = IpsecMb::OfThread();
    if (ipsec_mb != nullptr &&
        (size_max <= ipsec_mb->size_max() || library_ == AeadLibrary::kIpsecMb)) {
      return Engine::kIpsecMb;
    }
  }
  if (evp_ == nullptr) {
    evp_ = EVP_CIPHER_CTX_new();
    IM_CHECK(evp_ != nullptr);
    const auto init = seal ? EVP_EncryptInit_ex2 : EVP_DecryptInit_ex2;
    IM_CHECK(init(evp_, ChaCha20Poly1305(), key_.bytes().data(), nullptr, nullptr) == 1);
  }
  return Engine::kEvp;
}

void AeadSealer::Seal(std::span<const AeadJob> jobs) {
  switch (EngineFor(jobs, true)) {
    case Engine::kSodium:
      for (const AeadJob& job : jobs) SealWithSodium(key_, job);
      break;
    case Engine::kEvp:
      for (const AeadJob& job : jobs) IM_CHECK(SealWithEvp(evp_, job));
      break;
    case Engine::kIpsecMb:
      IpsecMb::OfThread()->Seal(key_, jobs);
      break;
  }
}

void AeadOpener::Open(std::span<AeadJob> jobs) {
  switch (EngineFor(jobs, false)) {
    case Engine::kSodium:
      for (AeadJob& job : jobs) job.ok = OpenWithSodium(key_, job);
      break;
    case Engine::kEvp:
      for (AeadJob& job : jobs) job.ok = OpenWithEvp(evp_, job);
      break;
    case Engine::kIpsecMb:
      IpsecMb::OfThread()->Open(key_, jobs);
      break;
  }
}

}  // namespace im::tunnel
