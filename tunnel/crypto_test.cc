#include "tunnel/crypto.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>


namespace im::tunnel {
namespace {

std::vector<uint8_t> FromHex(const std::string& hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

template <typename Container>
std::string Hex(const Container& bytes) {
  static const char* digits = "0123456789abcdef";
  std::string text;
  for (uint8_t byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

Bytes Text(const char* text) { return {reinterpret_cast<const uint8_t*>(text), std::strlen(text)}; }

SecretKey Secret(const std::string& hex) { return *SecretKey::FromHex(hex); }

constexpr char kSunscreen[] =
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    "sunscreen would be it.";

// RFC 7693 appendix B.
TEST(Blake2sTest, HashesTheVectorOfTheRfc) {
  EXPECT_EQ(Hex(Blake2s({Text("abc")})),
            "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
  EXPECT_EQ(Hex(Blake2s({})), "69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9");
}

TEST(Blake2sTest, PartsAreConcatenated) {
  EXPECT_EQ(Blake2s({Text("a"), {}, Text("bc")}), Blake2s({Text("abc")}));
}

// Values of Python's hashlib.
TEST(Blake2sTest, KeyedMacHas16BytesOfItsOwnParameterBlock) {
  std::vector<uint8_t> key(32);
  for (size_t i = 0; i < key.size(); ++i) key[i] = static_cast<uint8_t>(i);
  EXPECT_EQ(Hex(KeyedMac(key, Text("abc"))), "61ba5f165c194692e09d12520cc4c74a");
  EXPECT_EQ(Hex(KeyedMac(Bytes(key).first(16), Text(""))), "af4e5d3bb230e9ff9096ca6f7c501f76");
  // The context is used again: no trace of the last key may be left.
  EXPECT_EQ(Hex(KeyedMac(key, Text("abc"))), "61ba5f165c194692e09d12520cc4c74a");
}

TEST(HkdfTest, AgreesWithHmacBlake2sOfAnotherLibrary) {
  const std::vector<uint8_t> key(32, 0x0b);
  EXPECT_EQ(Hex(Hmac(key, {Text("data")})), "d0fcb2efddeecee6a3712f599bdf258804bbc4ee130ea636f84b3deac40f8187");
  SecretKey a, b, c;
  Kdf3(a, b, c, key, Text("input"));
  EXPECT_EQ(a.ToHex(), "749d73a06b5e054295385135139cc23c18436c7a1320b1b1da7018b79ba10c34");
  EXPECT_EQ(b.ToHex(), "266290646778e2ae42f99389ddf26005a7ebeece59c92582009eca71b4c13152");
  EXPECT_EQ(c.ToHex(), "c1d4570183b50a46debfe5753513caee25739f9adb42712a1c874e53cf66f843");
  SecretKey one, two;
  Kdf2(one, two, key, Text("input"));
  EXPECT_EQ(one, a);
  EXPECT_EQ(two, b);
  // The chaining key is input and output.
  SecretKey chain = Secret(std::string(64, '0'));
  chain.bytes().fill(0x0b);
  Kdf1(chain, chain.bytes(), Text("input"));
  EXPECT_EQ(chain, a);
}

// RFC 7748 5.2.
TEST(X25519Test, MultipliesTheVectorsOfTheRfc) {
  SecretKey out;
  ASSERT_TRUE(X25519(out, Secret("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                     *PublicKey::FromHex(
                         "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")));
  EXPECT_EQ(out.ToHex(), "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
  ASSERT_TRUE(X25519(out, Secret("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"),
                     *PublicKey::FromHex(
                         "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493")));
  EXPECT_EQ(out.ToHex(), "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957");
}

// RFC 7748 6.1.
TEST(X25519Test, BothEndsComeToTheSameSecret) {
  const PrivateKey alice =
      Secret("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
  const PrivateKey bob = Secret("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
  EXPECT_EQ(DerivePublicKey(alice).ToHex(),
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  EXPECT_EQ(DerivePublicKey(bob).ToHex(),
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  SecretKey one, two;
  ASSERT_TRUE(X25519(one, alice, DerivePublicKey(bob)));
  ASSERT_TRUE(X25519(two, bob, DerivePublicKey(alice)));
  EXPECT_EQ(one, two);
  EXPECT_EQ(one.ToHex(), "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
}

TEST(X25519Test, PointsOfLowOrderAreRefused) {
  SeededRandom random(1);
  SecretKey out;
  const PrivateKey key = GeneratePrivateKey(random);
  for (const char* point : {"0000000000000000000000000000000000000000000000000000000000000000",
                            "0100000000000000000000000000000000000000000000000000000000000000",
                            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
    EXPECT_FALSE(X25519(out, key, *PublicKey::FromHex(point))) << point;
  }
}

TEST(XAeadTest, SealsTheVectorOfTheDraft) {
  const auto key = FromHex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
  const auto nonce = FromHex("404142434445464748494a4b4c4d4e4f5051525354555657");
  const auto associated = FromHex("50515253c0c1c2c3c4c5c6c7");
  std::vector<uint8_t> sealed(sizeof(kSunscreen) - 1 + kTagBytes);
  XAeadSeal(sealed, key, nonce, Text(kSunscreen), associated);
  EXPECT_EQ(Hex(sealed),
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
            "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
            "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
            "21f9664c97637da9768812f615c68b13b52e"
            "c0875924c1c7987947deafd8780acf49");
  std::vector<uint8_t> opened(sizeof(kSunscreen) - 1);
  EXPECT_TRUE(XAeadOpen(opened, key, nonce, sealed, associated));
  EXPECT_EQ(std::string(opened.begin(), opened.end()), kSunscreen);
  sealed[3] ^= 0x80;
  EXPECT_FALSE(XAeadOpen(opened, key, nonce, sealed, associated));
}

TEST(ConstantTimeTest, ComparesSizeAndBytes) {
  EXPECT_TRUE(EqualConstantTime(Text("abc"), Text("abc")));
  EXPECT_FALSE(EqualConstantTime(Text("abc"), Text("abd")));
  EXPECT_FALSE(EqualConstantTime(Text("abc"), Text("ab")));
}

}  // namespace
}  // namespace im::tunnel
