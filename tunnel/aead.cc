#include "tunnel/aead.h"

#include <openssl/evp.h>

#include <array>

#include "base/check.h"

namespace im::tunnel {
namespace {

constexpr size_t kNonceBytes = 12;
using Nonce = std::array<uint8_t, kNonceBytes>;

const EVP_CIPHER* ChaCha20Poly1305() {
  static const EVP_CIPHER* const cipher = [] {
    InitCrypto();
    return EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
  }();
  IM_CHECK(cipher != nullptr);
  return cipher;
}

Nonce NonceOf(uint64_t counter) {
  Nonce nonce{};
  for (int i = 0; i < 8; ++i) nonce[4 + i] = static_cast<uint8_t>(counter >> (8 * i));
  return nonce;
}

}  // namespace

// EVP wipes the key when the context is freed.
struct AeadSealer::Context {
  EVP_CIPHER_CTX* evp = EVP_CIPHER_CTX_new();
  ~Context() { EVP_CIPHER_CTX_free(evp); }
};
struct AeadOpener::Context {
  EVP_CIPHER_CTX* evp = EVP_CIPHER_CTX_new();
  ~Context() { EVP_CIPHER_CTX_free(evp); }
};

AeadSealer::AeadSealer(const SecretKey& key) : context_(std::make_unique<Context>()) {
  IM_CHECK(EVP_EncryptInit_ex2(context_->evp, ChaCha20Poly1305(), key.bytes().data(), nullptr,
                               nullptr) == 1);
}
AeadSealer::~AeadSealer() = default;

void AeadSealer::Seal(std::span<const AeadJob> jobs) {
  EVP_CIPHER_CTX* evp = context_->evp;
  for (const AeadJob& job : jobs) {
    const Nonce nonce = NonceOf(job.counter);
    int n = 0;
    bool ok = EVP_EncryptInit_ex2(evp, nullptr, nullptr, nonce.data(), nullptr) == 1;
    if (job.size != 0)
      ok = ok && EVP_EncryptUpdate(evp, job.out, &n, job.in, static_cast<int>(job.size)) == 1;
    ok = ok && EVP_EncryptFinal_ex(evp, job.out + job.size, &n) == 1 &&
         EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_GET_TAG, kTagBytes, job.out + job.size) == 1;
    IM_CHECK(ok);
  }
}

AeadOpener::AeadOpener(const SecretKey& key) : context_(std::make_unique<Context>()) {
  IM_CHECK(EVP_DecryptInit_ex2(context_->evp, ChaCha20Poly1305(), key.bytes().data(), nullptr,
                               nullptr) == 1);
}
AeadOpener::~AeadOpener() = default;

void AeadOpener::Open(std::span<AeadJob> jobs) {
  EVP_CIPHER_CTX* evp = context_->evp;
  for (AeadJob& job : jobs) {
    const Nonce nonce = NonceOf(job.counter);
    // OpenSSL takes the tag as not const, but only copies it.
    uint8_t* tag = const_cast<uint8_t*>(job.in) + job.size;
    uint8_t none[1];
    int n = 0;
    bool ok = EVP_DecryptInit_ex2(evp, nullptr, nullptr, nonce.data(), nullptr) == 1 &&
              EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag) == 1;
    if (job.size != 0)
      ok = ok && EVP_DecryptUpdate(evp, job.out, &n, job.in, static_cast<int>(job.size)) == 1;
    job.ok = ok && EVP_DecryptFinal_ex(evp, none, &n) == 1;
  }
}

}  // namespace im::tunnel
