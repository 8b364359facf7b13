// The primitives of [W] 5.4: BLAKE2s, HMAC, HKDF, Curve25519, AEAD, XAEAD.
//
// BLAKE2s comes from OpenSSL; Curve25519, XChaCha20-Poly1305 and the two small
// AEADs of a handshake from libsodium. Bulk data has its own file, aead.h.
// Both libraries are set up at the first use, once for the process: OpenSSL
// without its configuration file, which would cost more than a handshake.

#ifndef IM_TUNNEL_CRYPTO_H_
#define IM_TUNNEL_CRYPTO_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "tunnel/keys.h"

namespace im::tunnel {

inline constexpr size_t kHashBytes = 32;
inline constexpr size_t kMacBytes = 16;
inline constexpr size_t kTagBytes = 16;
inline constexpr size_t kXNonceBytes = 24;

using Hash = std::array<uint8_t, kHashBytes>;
using Mac = std::array<uint8_t, kMacBytes>;
using Bytes = std::span<const uint8_t>;

// Sets up both libraries. Idempotent, thread-safe; every function below calls
// it where it needs to.
void InitCrypto();

// HASH of the parts, one after the other.
Hash Blake2s(std::initializer_list<Bytes> parts);
// MAC(key, input): keyed BLAKE2s with 16 bytes of output.
// Preconditions: key of 1 to 32 bytes.
Mac KeyedMac(Bytes key, Bytes input);
// HMAC with BLAKE2s. Preconditions: key of at most 64 bytes.
Hash Hmac(Bytes key, std::initializer_list<Bytes> parts);

// KDF_n(key, input) of [W] 5.4: the first n blocks of HKDF. Outputs may be the
// key's own bytes.
void Kdf1(SecretKey& out, Bytes key, Bytes input);
void Kdf2(SecretKey& out1, SecretKey& out2, Bytes key, Bytes input);
void Kdf3(SecretKey& out1, SecretKey& out2, SecretKey& out3, Bytes key, Bytes input);

// Clears and sets the bits of RFC 7748 5.
void ClampPrivateKey(PrivateKey& key);
PublicKey X25519Base(const PrivateKey& key);
// False if the result is all zero: the other's point is of low order.
[[nodiscard]] bool X25519(SecretKey& out, const PrivateKey& key, const PublicKey& point);

// AEAD of RFC 8439 with counter zero, as handshake messages use it.
// Preconditions: out has plaintext.size() + kTagBytes bytes.
void AeadSeal(std::span<uint8_t> out, const SecretKey& key, Bytes plaintext, Bytes associated);
// Preconditions: out has sealed.size() - kTagBytes bytes.
[[nodiscard]] bool AeadOpen(std::span<uint8_t> out, const SecretKey& key, Bytes sealed,
                            Bytes associated);

// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), for cookies.
void XAeadSeal(std::span<uint8_t> out, Bytes key, Bytes nonce, Bytes plaintext, Bytes associated);
[[nodiscard]] bool XAeadOpen(std::span<uint8_t> out, Bytes key, Bytes nonce, Bytes sealed,
                             Bytes associated);

// In constant time. False if the sizes differ.
bool EqualConstantTime(Bytes a, Bytes b);
void WipeBytes(std::span<uint8_t> bytes);

}  // namespace im::tunnel

#endif  // IM_TUNNEL_CRYPTO_H_
