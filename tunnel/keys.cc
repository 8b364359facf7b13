#include "tunnel/keys.h"

#include <sodium.h>

#include <cstring>

#include "tunnel/crypto.h"

namespace im::tunnel {
namespace {

using KeyArray = std::array<uint8_t, kKeyBytes>;

std::optional<KeyArray> BytesOf(absl::string_view raw) {
  if (raw.size() != kKeyBytes) return std::nullopt;
  KeyArray bytes;
  std::memcpy(bytes.data(), raw.data(), bytes.size());
  return bytes;
}

// libsodium's codecs take the same time for every key.
std::optional<KeyArray> BytesOfBase64(absl::string_view text) {
  KeyArray bytes;
  size_t size = 0;
  // 32 bytes are 44 characters, the last of them padding.
  if (text.size() != sodium_base64_ENCODED_LEN(kKeyBytes, sodium_base64_VARIANT_ORIGINAL) - 1 ||
      sodium_base642bin(bytes.data(), bytes.size(), text.data(), text.size(), nullptr, &size,
                        nullptr, sodium_base64_VARIANT_ORIGINAL) != 0 ||
      size != bytes.size()) {
    sodium_memzero(bytes.data(), bytes.size());
    return std::nullopt;
  }
  return bytes;
}

std::optional<KeyArray> BytesOfHex(absl::string_view text) {
  KeyArray bytes;
  size_t size = 0;
  const char* end = nullptr;
  if (text.size() != 2 * kKeyBytes ||
      sodium_hex2bin(bytes.data(), bytes.size(), text.data(), text.size(), nullptr, &size, &end) !=
          0 ||
      size != bytes.size() || end != text.data() + text.size()) {
    sodium_memzero(bytes.data(), bytes.size());
    return std::nullopt;
  }
  return bytes;
}

std::string Base64(const KeyArray& bytes) {
  std::string text(sodium_base64_ENCODED_LEN(kKeyBytes, sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(),
                    sodium_base64_VARIANT_ORIGINAL);
  text.pop_back();  // its NUL
  return text;
}

std::string Hex(const KeyArray& bytes) {
  std::string text(2 * kKeyBytes + 1, '\0');
  sodium_bin2hex(text.data(), text.size(), bytes.data(), bytes.size());
  text.pop_back();
  return text;
}

std::optional<PublicKey> PublicOf(const std::optional<KeyArray>& bytes) {
  if (!bytes) return std::nullopt;
  return PublicKey{*bytes};
}

std::optional<SecretKey> SecretOf(std::optional<KeyArray> bytes) {
  if (!bytes) return std::nullopt;
  SecretKey key;
  key.bytes() = *bytes;
  sodium_memzero(bytes->data(), bytes->size());
  return key;
}

}  // namespace

std::string PublicKey::ToBase64() const { return Base64(bytes); }
std::string PublicKey::ToHex() const { return Hex(bytes); }
std::optional<PublicKey> PublicKey::FromBase64(absl::string_view text) {
  return PublicOf(BytesOfBase64(text));
}
std::optional<PublicKey> PublicKey::FromHex(absl::string_view text) {
  return PublicOf(BytesOfHex(text));
}
std::optional<PublicKey> PublicKey::FromBytes(absl::string_view raw) {
  return PublicOf(BytesOf(raw));
}

SecretKey::~SecretKey() { sodium_memzero(bytes_.data(), bytes_.size()); }
std::optional<SecretKey> SecretKey::FromBase64(absl::string_view text) {
  return SecretOf(BytesOfBase64(text));
}
std::optional<SecretKey> SecretKey::FromHex(absl::string_view text) {
  return SecretOf(BytesOfHex(text));
}
std::optional<SecretKey> SecretKey::FromBytes(absl::string_view raw) {
  return SecretOf(BytesOf(raw));
}
std::string SecretKey::ToBase64() const { return Base64(bytes_); }
std::string SecretKey::ToHex() const { return Hex(bytes_); }
bool SecretKey::is_zero() const { return sodium_is_zero(bytes_.data(), bytes_.size()) == 1; }
bool operator==(const SecretKey& a, const SecretKey& b) {
  return sodium_memcmp(a.bytes_.data(), b.bytes_.data(), kKeyBytes) == 0;
}

PrivateKey GeneratePrivateKey(Random& random) {
  PrivateKey key;
  random.Fill(key.bytes());
  ClampPrivateKey(key);
  return key;
}

PublicKey DerivePublicKey(const PrivateKey& key) { return X25519Base(key); }

}  // namespace im::tunnel
