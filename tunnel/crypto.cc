#include "tunnel/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <sodium.h>

#include <cstring>

#include "base/check.h"

// Null unless the program links libssl.
extern "C" int OPENSSL_init_ssl(uint64_t, const void*) __attribute__((weak));

namespace im::tunnel {
namespace {

constexpr size_t kBlake2sBlockBytes = 64;

// Algorithms are fetched once: a fetch walks the providers' tables.
struct Algorithms {
  EVP_MD* blake2s;
  EVP_MAC* blake2s_mac;

  Algorithms() {
    InitCrypto();
    blake2s = EVP_MD_fetch(nullptr, "BLAKE2S-256", nullptr);
    blake2s_mac = EVP_MAC_fetch(nullptr, "BLAKE2SMAC", nullptr);
    IM_CHECK(blake2s != nullptr && blake2s_mac != nullptr);
  }
  static const Algorithms& Get() {
    static const Algorithms algorithms;
    return algorithms;
  }
};

// A thread's contexts: making one costs more than hashing a message.
struct Contexts {
  EVP_MD_CTX* hash = EVP_MD_CTX_new();
  EVP_MAC_CTX* mac = EVP_MAC_CTX_new(Algorithms::Get().blake2s_mac);

  Contexts() {
    IM_CHECK(hash != nullptr && mac != nullptr);
    IM_CHECK(EVP_DigestInit_ex2(hash, Algorithms::Get().blake2s, nullptr) == 1);
    size_t size = kMacBytes;
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                                 OSSL_PARAM_construct_end()};
    IM_CHECK(EVP_MAC_CTX_set_params(mac, params) == 1);
  }
  ~Contexts() {
    EVP_MD_CTX_free(hash);
    EVP_MAC_CTX_free(mac);
  }
  static Contexts& Get() {
    thread_local Contexts contexts;
    return contexts;
  }
};

void HashParts(std::span<uint8_t, kHashBytes> out, Bytes first,
               std::initializer_list<Bytes> parts) {
  EVP_MD_CTX* context = Contexts::Get().hash;
  IM_CHECK(EVP_DigestInit_ex2(context, nullptr, nullptr) == 1);
  if (!first.empty()) IM_CHECK(EVP_DigestUpdate(context, first.data(), first.size()) == 1);
  for (Bytes part : parts)
    if (!part.empty()) IM_CHECK(EVP_DigestUpdate(context, part.data(), part.size()) == 1);
  unsigned size = 0;
  IM_CHECK(EVP_DigestFinal_ex(context, out.data(), &size) == 1 && size == kHashBytes);
}

}  // namespace

void InitCrypto() {
  static const bool once = [] {
    uint64_t options = OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT;
    // The old tables of names, which fetching does not need, are two thirds of
    // OpenSSL's start. TLS does need them.
    if (OPENSSL_init_ssl == nullptr)
      options |= OPENSSL_INIT_NO_ADD_ALL_CIPHERS | OPENSSL_INIT_NO_ADD_ALL_DIGESTS;
    IM_CHECK(OPENSSL_init_crypto(options, nullptr) == 1);
    IM_CHECK(sodium_init() >= 0);
    return true;
  }();
  static_cast<void>(once);
}

Hash Blake2s(std::initializer_list<Bytes> parts) {
  Hash out;
  HashParts(out, {}, parts);
  return out;
}

Mac KeyedMac(Bytes key, Bytes input) {
  EVP_MAC_CTX* context = Contexts::Get().mac;
  Mac out;
  size_t size = 0;
  IM_CHECK(EVP_MAC_init(context, key.data(), key.size(), nullptr) == 1 &&
           EVP_MAC_update(context, input.data(), input.size()) == 1 &&
           EVP_MAC_final(context, out.data(), &size, out.size()) == 1 && size == out.size());
  return out;
}

Hash Hmac(Bytes key, std::initializer_list<Bytes> parts) {
  IM_CHECK(key.size() <= kBlake2sBlockBytes);
  std::array<uint8_t, kBlake2sBlockBytes> pad{};
  std::memcpy(pad.data(), key.data(), key.size());
  for (uint8_t& byte : pad) byte ^= 0x36;
  Hash inner;
  HashParts(inner, pad, parts);
  for (uint8_t& byte : pad) byte ^= 0x36 ^ 0x5c;
  Hash out;
  HashParts(out, pad, {inner});
  sodium_memzero(pad.data(), pad.size());
  sodium_memzero(inner.data(), inner.size());
  return out;
}

namespace {

// HKDF's blocks into up to three outputs (null: not wanted).
void Kdf(Bytes key, Bytes input, SecretKey* out1, SecretKey* out2, SecretKey* out3) {
  Hash secret = Hmac(key, {input});
  Hash block{};
  size_t block_size = 0;  // no block before the first one
  uint8_t number = 0;
  for (SecretKey* out : {out1, out2, out3}) {
    if (out == nullptr) break;
    ++number;
    block = Hmac(secret, {Bytes(block).first(block_size), Bytes(&number, 1)});
    block_size = block.size();
    out->bytes() = block;
  }
  sodium_memzero(secret.data(), secret.size());
  sodium_memzero(block.data(), block.size());
}

}  // namespace

void Kdf1(SecretKey& out, Bytes key, Bytes input) { Kdf(key, input, &out, nullptr, nullptr); }
void Kdf2(SecretKey& out1, SecretKey& out2, Bytes key, Bytes input) {
  Kdf(key, input, &out1, &out2, nullptr);
}
void Kdf3(SecretKey& out1, SecretKey& out2, SecretKey& out3, Bytes key, Bytes input) {
  Kdf(key, input, &out1, &out2, &out3);
}

void ClampPrivateKey(PrivateKey& key) {
  key.bytes()[0] &= 248;
  key.bytes()[31] = static_cast<uint8_t>((key.bytes()[31] & 127) | 64);
}

PublicKey X25519Base(const PrivateKey& key) {
  InitCrypto();
  PublicKey out;
  IM_CHECK(crypto_scalarmult_base(out.bytes.data(), key.bytes().data()) == 0);
  return out;
}

bool X25519(SecretKey& out, const PrivateKey& key, const PublicKey& point) {
  InitCrypto();
  return crypto_scalarmult(out.bytes().data(), key.bytes().data(), point.bytes.data()) == 0;
}

namespace {
constexpr std::array<uint8_t, crypto_aead_chacha20poly1305_IETF_NPUBBYTES> kZeroNonce{};
}

void AeadSeal(std::span<uint8_t> out, const SecretKey& key, Bytes plaintext, Bytes associated) {
  IM_CHECK(out.size() == plaintext.size() + kTagBytes);
  InitCrypto();
  crypto_aead_chacha20poly1305_ietf_encrypt(out.data(), nullptr, plaintext.data(),
                                            plaintext.size(), associated.data(),
                                            associated.size(), nullptr, kZeroNonce.data(),
                                            key.bytes().data());
}

bool AeadOpen(std::span<uint8_t> out, const SecretKey& key, Bytes sealed, Bytes associated) {
  IM_CHECK(sealed.size() == out.size() + kTagBytes);
  InitCrypto();
  return crypto_aead_chacha20poly1305_ietf_decrypt(out.data(), nullptr, nullptr, sealed.data(),
                                                   sealed.size(), associated.data(),
                                                   associated.size(), kZeroNonce.data(),
                                                   key.bytes().data()) == 0;
}

void XAeadSeal(std::span<uint8_t> out, Bytes key, Bytes nonce, Bytes plaintext, Bytes associated) {
  IM_CHECK(out.size() == plaintext.size() + kTagBytes && key.size() == kKeyBytes &&
           nonce.size() == kXNonceBytes);
  InitCrypto();
  crypto_aead_xchacha20poly1305_ietf_encrypt(out.data(), nullptr, plaintext.data(),
                                             plaintext.size(), associated.data(),
                                             associated.size(), nullptr, nonce.data(), key.data());
}

bool XAeadOpen(std::span<uint8_t> out, Bytes key, Bytes nonce, Bytes sealed, Bytes associated) {
  IM_CHECK(sealed.size() == out.size() + kTagBytes && key.size() == kKeyBytes &&
           nonce.size() == kXNonceBytes);
  InitCrypto();
  return crypto_aead_xchacha20poly1305_ietf_decrypt(out.data(), nullptr, nullptr, sealed.data(),
                                                    sealed.size(), associated.data(),
                                                    associated.size(), nonce.data(),
                                                    key.data()) == 0;
}

bool EqualConstantTime(Bytes a, Bytes b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void WipeBytes(std::span<uint8_t> bytes) { sodium_memzero(bytes.data(), bytes.size()); }

}  // namespace im::tunnel
