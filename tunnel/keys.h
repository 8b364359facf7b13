// Key material as types: what is private is wiped when it goes.

#ifndef IM_TUNNEL_KEYS_H_
#define IM_TUNNEL_KEYS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "base/random.h"

namespace im::tunnel {

inline constexpr size_t kKeyBytes = 32;

// A Curve25519 public key (RFC 7748).
struct PublicKey {
  std::array<uint8_t, kKeyBytes> bytes{};

  std::string ToBase64() const;
  std::string ToHex() const;
  static std::optional<PublicKey> FromBase64(absl::string_view text);
  static std::optional<PublicKey> FromHex(absl::string_view text);
  static std::optional<PublicKey> FromBytes(absl::string_view raw);  // 32 bytes
  absl::string_view raw() const {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  friend bool operator==(const PublicKey&, const PublicKey&) = default;
  friend auto operator<=>(const PublicKey&, const PublicKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const PublicKey& k) {
    return H::combine(std::move(h), k.bytes);
  }
};

// Secret bytes: compared in constant time, wiped by the destructor.
class SecretKey {
 public:
  SecretKey() = default;
  ~SecretKey();
  SecretKey(const SecretKey&) = default;
  SecretKey& operator=(const SecretKey&) = default;

  static std::optional<SecretKey> FromBase64(absl::string_view text);
  static std::optional<SecretKey> FromHex(absl::string_view text);
  static std::optional<SecretKey> FromBytes(absl::string_view raw);  // 32 bytes
  std::string ToBase64() const;
  std::string ToHex() const;
  bool is_zero() const;
  std::array<uint8_t, kKeyBytes>& bytes() { return bytes_; }
  const std::array<uint8_t, kKeyBytes>& bytes() const { return bytes_; }
  absl::string_view raw() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }
  friend bool operator==(const SecretKey& a, const SecretKey& b);

 private:
  std::array<uint8_t, kKeyBytes> bytes_{};
};

using PrivateKey = SecretKey;    // Curve25519, clamped
using PresharedKey = SecretKey;  // all zero: none

PrivateKey GeneratePrivateKey(Random& random);
PublicKey DerivePublicKey(const PrivateKey& key);

}  // namespace im::tunnel

#endif  // IM_TUNNEL_KEYS_H_
