#include "tunnel/aead.h"

#include <openssl/evp.h>
#include <sodium.h>

#include <array>
#include <atomic>

#include "base/check.h"

namespace im::tunnel {
namespace {

using Nonce = std::array<uint8_t, crypto_aead_chacha20poly1305_IETF_NPUBBYTES>;

Nonce NonceOf(uint64_t counter) {
  Nonce nonce{};
  for (int i = 0; i < 8; ++i) nonce[4 + i] = static_cast<uint8_t>(counter >> (8 * i));
  return nonce;
}

// The price of EVP's start has been paid.
std::atomic<bool> evp_is_ready{false};

const EVP_CIPHER* ChaCha20Poly1305() {
  static const EVP_CIPHER* const cipher = [] {
    InitCrypto();
    return EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
  }();
  IM_CHECK(cipher != nullptr);
  evp_is_ready.store(true, std::memory_order_relaxed);
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

bool AeadKey::UsesEvp(std::span<const AeadJob> jobs, bool seal) {
  if (evp_ != nullptr) return true;
  for (const AeadJob& job : jobs) bytes_ += job.size;
  // Where it runs already, a context is cheap, but still a kilobyte.
  const bool ready = evp_is_ready.load(std::memory_order_relaxed);
  if (bytes_ < (ready ? kEvpBytes / 64 : kEvpBytes)) {
    InitCrypto();
    return false;
  }
  evp_ = EVP_CIPHER_CTX_new();
  IM_CHECK(evp_ != nullptr);
  const auto init = seal ? EVP_EncryptInit_ex2 : EVP_DecryptInit_ex2;
  IM_CHECK(init(evp_, ChaCha20Poly1305(), key_.bytes().data(), nullptr, nullptr) == 1);
  return true;
}

void AeadSealer::Seal(std::span<const AeadJob> jobs) {
  if (!UsesEvp(jobs, true)) {
    for (const AeadJob& job : jobs) SealWithSodium(key_, job);
    return;
  }
  for (const AeadJob& job : jobs) IM_CHECK(SealWithEvp(evp_, job));
}

void AeadOpener::Open(std::span<AeadJob> jobs) {
  const bool evp = UsesEvp(jobs, false);
  for (AeadJob& job : jobs) job.ok = evp ? OpenWithEvp(evp_, job) : OpenWithSodium(key_, job);
}

}  // namespace im::tunnel
