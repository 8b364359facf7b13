#include "tunnel/handshake.h"

#include <gtest/gtest.h>

namespace im::tunnel {
namespace {

class HandshakeTest : public ::testing::Test {
 protected:
  struct Result {
    std::optional<TransportKeys> initiator;
    std::optional<TransportKeys> responder;
  };

  SecretKey Shared() const {
    SecretKey shared;
    EXPECT_TRUE(X25519(shared, alice.private_key, bob.public_key));
    return shared;
  }
  RemoteStatic Bob() const { return {bob.public_key, Shared()}; }

  PendingInitiation Initiate(InitiationMessage& message) {
    auto pending = CreateInitiation(Bob(), 11, stamp, random, alice, message);
    EXPECT_TRUE(pending);
    return *std::move(pending);
  }

  Result Run(const PresharedKey& psk_of_alice, const PresharedKey& psk_of_bob) {
    Result result;
    InitiationMessage initiation;
    const PendingInitiation pending = Initiate(initiation);
    auto opened = OpenInitiation(bob, initiation);
    EXPECT_TRUE(opened);
    EXPECT_EQ(opened->remote_static, alice.public_key);
    EXPECT_EQ(opened->remote_index, 11u);
    EXPECT_EQ(OpenTimestamp(*opened, Shared()), stamp);
    ResponseMessage response;
    result.responder = CreateResponse(*opened, psk_of_bob, 22, random, response);
    EXPECT_EQ(response.sender, 22u);
    EXPECT_EQ(response.receiver, 11u);
    result.initiator = ConsumeResponse(alice, pending, psk_of_alice, response);
    return result;
  }

  SeededRandom random{42};
  Identity alice{GeneratePrivateKey(random)};
  Identity bob{GeneratePrivateKey(random)};
  Tai64n stamp = Tai64n::FromUnixNanos(1'700'000'000'000'000'000);
};

TEST_F(HandshakeTest, BothEndsDeriveTheSameKeysCrosswise) {
  const Result result = Run({}, {});
  ASSERT_TRUE(result.initiator && result.responder);
  EXPECT_EQ(result.initiator->send, result.responder->receive);
  EXPECT_EQ(result.initiator->receive, result.responder->send);
  EXPECT_FALSE(result.initiator->send == result.initiator->receive);
}

TEST_F(HandshakeTest, APresharedKeyChangesTheKeys) {
  const PresharedKey psk = GeneratePrivateKey(random);
  const Result result = Run(psk, psk);
  ASSERT_TRUE(result.initiator && result.responder);
  EXPECT_EQ(result.initiator->send, result.responder->receive);
}

TEST_F(HandshakeTest, ADifferentPresharedKeyFailsAtTheInitiator) {
  const PresharedKey psk = GeneratePrivateKey(random);
  EXPECT_FALSE(Run(psk, {}).initiator);
  EXPECT_FALSE(Run({}, psk).initiator);
  EXPECT_FALSE(Run(psk, GeneratePrivateKey(random)).initiator);
}

TEST_F(HandshakeTest, EveryHandshakeHasItsOwnKeys) {
  const Result one = Run({}, {});
  const Result two = Run({}, {});
  EXPECT_FALSE(one.initiator->send == two.initiator->send);
}

TEST_F(HandshakeTest, AnyChangedBitOfAnInitiationIsNoticed) {
  InitiationMessage message;
  Initiate(message);
  auto* bytes = reinterpret_cast<uint8_t*>(&message);
  // From the ephemeral key on; the top bit of a Curve25519 key does not count,
  // but the hash covers it.
  for (size_t i = offsetof(InitiationMessage, ephemeral); i < offsetof(InitiationMessage, mac1);
       ++i) {
    const auto flip = static_cast<uint8_t>(1 << (i % 8));
    bytes[i] ^= flip;
    auto opened = OpenInitiation(bob, message);
    EXPECT_FALSE(opened && OpenTimestamp(*opened, Shared())) << i;
    bytes[i] ^= flip;
  }
  auto opened = OpenInitiation(bob, message);
  EXPECT_TRUE(opened && OpenTimestamp(*opened, Shared()));
}

TEST_F(HandshakeTest, AnyChangedBitOfAResponseIsNoticedAndForgivenAfterwards) {
  InitiationMessage initiation;
  const PendingInitiation pending = Initiate(initiation);
  auto opened = OpenInitiation(bob, initiation);
  ASSERT_TRUE(OpenTimestamp(*opened, Shared()));
  ResponseMessage response;
  ASSERT_TRUE(CreateResponse(*opened, {}, 22, random, response));
  auto* bytes = reinterpret_cast<uint8_t*>(&response);
  for (size_t i = offsetof(ResponseMessage, ephemeral); i < offsetof(ResponseMessage, mac1); ++i) {
    bytes[i] ^= 0x80;
    EXPECT_FALSE(ConsumeResponse(alice, pending, {}, response)) << i;
    bytes[i] ^= 0x80;
  }
  // The right one still finishes the handshake.
  EXPECT_TRUE(ConsumeResponse(alice, pending, {}, response));
}

TEST_F(HandshakeTest, SomebodyElsesInitiationDoesNotOpen) {
  InitiationMessage message;
  Initiate(message);
  const Identity carol(GeneratePrivateKey(random));
  EXPECT_FALSE(OpenInitiation(carol, message));
}

TEST_F(HandshakeTest, WhoClaimsAnothersStaticKeyCannotSealTheTimestamp) {
  // Mallory knows Alice's public key and seals it, but has not her private key.
  Identity mallory(GeneratePrivateKey(random));
  SecretKey shared;
  ASSERT_TRUE(X25519(shared, mallory.private_key, bob.public_key));
  mallory.public_key = alice.public_key;
  InitiationMessage message;
  ASSERT_TRUE(CreateInitiation({bob.public_key, shared}, 1, stamp, random, mallory, message));
  auto opened = OpenInitiation(bob, message);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->remote_static, alice.public_key);
  EXPECT_FALSE(OpenTimestamp(*opened, Shared()));
}

TEST_F(HandshakeTest, KeysOfLowOrderAreRefused) {
  InitiationMessage initiation;
  EXPECT_FALSE(CreateInitiation({PublicKey(), SecretKey()}, 1, stamp, random, alice, initiation));
  InitiationMessage message;
  const PendingInitiation pending = Initiate(message);
  auto opened = OpenInitiation(bob, message);
  ASSERT_TRUE(OpenTimestamp(*opened, Shared()));
  ResponseMessage response;
  ASSERT_TRUE(CreateResponse(*opened, {}, 22, random, response));
  response.ephemeral = PublicKey();
  EXPECT_FALSE(ConsumeResponse(alice, pending, {}, response));
  message.ephemeral = PublicKey();
  EXPECT_FALSE(OpenInitiation(bob, message));
}

}  // namespace
}  // namespace im::tunnel
