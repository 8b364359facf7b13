#include "tunnel/keys.h"

#include <gtest/gtest.h>

namespace im::tunnel {
namespace {

constexpr char kBase64[] = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
constexpr char kHex[] = "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";

TEST(KeysTest, BothTextFormsAreTheSameKey) {
  const auto secret = SecretKey::FromHex(kHex);
  ASSERT_TRUE(secret);
  EXPECT_EQ(secret->ToBase64(), kBase64);
  EXPECT_EQ(SecretKey::FromBase64(kBase64), secret);
  const auto key = PublicKey::FromBase64(kBase64);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->ToHex(), kHex);
  EXPECT_EQ(PublicKey::FromHex(kHex), key);
  EXPECT_EQ(PublicKey::FromBytes(key->raw()), key);
}

TEST(KeysTest, AnythingElseIsNoKey) {
  for (const char* text :
       {"", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo==",
        "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LC==", " wdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=",
        "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCp=", "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo\n"}) {
    EXPECT_FALSE(SecretKey::FromBase64(text)) << text;
    EXPECT_FALSE(PublicKey::FromBase64(text)) << text;
  }
  const std::string hex = kHex;
  for (const std::string& text :
       {std::string(), hex.substr(1), hex + "0", hex + "00", "x" + hex.substr(1), hex.substr(0, 63) + " "}) {
    EXPECT_FALSE(SecretKey::FromHex(text)) << text;
    EXPECT_FALSE(PublicKey::FromHex(text)) << text;
  }
  EXPECT_FALSE(SecretKey::FromBytes("short"));
}

TEST(KeysTest, UppercaseHexIsAKey) {
  EXPECT_EQ(PublicKey::FromHex("77076D0A7318A57D3C16C17251B26645DF4C2F87EBC0992AB177FBA51DB92C2A"),
            PublicKey::FromHex(kHex));
}

TEST(KeysTest, GeneratedKeysAreClampedAndDiffer) {
  SeededRandom random(7);
  const PrivateKey one = GeneratePrivateKey(random);
  const PrivateKey two = GeneratePrivateKey(random);
  EXPECT_FALSE(one == two);
  for (const PrivateKey& key : {one, two}) {
    EXPECT_EQ(key.bytes()[0] & 7, 0);
    EXPECT_EQ(key.bytes()[31] & 0xc0, 0x40);
  }
}

TEST(KeysTest, ZeroIsNoPresharedKey) {
  EXPECT_TRUE(PresharedKey().is_zero());
  EXPECT_FALSE(SecretKey::FromHex(kHex)->is_zero());
}

TEST(KeysTest, TheDestructorWipes) {
  alignas(SecretKey) unsigned char memory[sizeof(SecretKey)];
  SecretKey* key = new (memory) SecretKey(*SecretKey::FromHex(kHex));
  // Read through a volatile pointer: the object is gone.
  const volatile unsigned char* bytes = memory;
  EXPECT_EQ(bytes[0], 0x77);
  key->~SecretKey();
  for (size_t i = 0; i < kKeyBytes; ++i) EXPECT_EQ(bytes[i], 0);
}

}  // namespace
}  // namespace im::tunnel
