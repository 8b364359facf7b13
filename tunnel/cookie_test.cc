#include "tunnel/cookie.h"

#include <gtest/gtest.h>

#include <vector>

namespace im::tunnel {
namespace {

using std::chrono::seconds;

class CookieTest : public ::testing::Test {
 protected:
  static constexpr seconds kRefresh{120};

  std::vector<uint8_t> Message() {
    std::vector<uint8_t> bytes(sizeof(InitiationMessage));
    random.Fill(bytes);
    return bytes;
  }
  std::vector<uint8_t> Sent() {
    std::vector<uint8_t> bytes = Message();
    holder.AddMacs(bytes, key, now, kRefresh);
    return bytes;
  }
  bool Exchange(const Endpoint& at) {
    const auto message = Sent();
    return holder.Take(jar.Reply(message, 5, at, now, random), key, now);
  }

  SeededRandom random{3};
  PublicKey key = DerivePublicKey(GeneratePrivateKey(random));
  Endpoint source{IpAddress::V4(0xc0000201), 51820};
  Instant now = Instant(seconds(1000));
  CookieJar jar{key, kRefresh};
  CookieHolder holder;
};

TEST_F(CookieTest, Mac1IsOfTheReceiversKeyAndAllBytesBefore) {
  std::vector<uint8_t> message = Sent();
  EXPECT_TRUE(jar.Mac1IsRight(message));
  for (size_t i = 0; i < message.size() - kMacBytes; ++i) {
    message[i] ^= 1;
    EXPECT_FALSE(jar.Mac1IsRight(message)) << i;
    message[i] ^= 1;
  }
  CookieJar other(DerivePublicKey(GeneratePrivateKey(random)), kRefresh);
  EXPECT_FALSE(other.Mac1IsRight(message));
}

TEST_F(CookieTest, WithoutACookieMac2IsZero) {
  const std::vector<uint8_t> message = Sent();
  for (size_t i = message.size() - kMacBytes; i < message.size(); ++i) EXPECT_EQ(message[i], 0);
  EXPECT_FALSE(jar.Mac2IsRight(message, source, now));
}

TEST_F(CookieTest, ACookieMakesMac2Right) {
  ASSERT_TRUE(Exchange(source));
  EXPECT_TRUE(jar.Mac2IsRight(Sent(), source, now));
}

TEST_F(CookieTest, ACookieIsForOneAddressAndPort) {
  ASSERT_TRUE(Exchange(source));
  const auto message = Sent();
  EXPECT_FALSE(jar.Mac2IsRight(message, {source.address, 51821}, now));
  EXPECT_FALSE(jar.Mac2IsRight(message, {IpAddress::V4(0xc0000202), source.port}, now));
}

TEST_F(CookieTest, ACookieIsGoodForTwoMinutes) {
  ASSERT_TRUE(Exchange(source));
  now += kRefresh - seconds(1);
  EXPECT_TRUE(jar.Mac2IsRight(Sent(), source, now));
  now += seconds(1);
  const auto message = Sent();
  EXPECT_FALSE(jar.Mac2IsRight(message, source, now));
  for (size_t i = message.size() - kMacBytes; i < message.size(); ++i) EXPECT_EQ(message[i], 0);
  // A new one has a new secret.
  ASSERT_TRUE(Exchange(source));
  EXPECT_TRUE(jar.Mac2IsRight(Sent(), source, now));
}

TEST_F(CookieTest, AReplyAnswersTheLastMessageOnceAndIsAuthentic) {
  EXPECT_FALSE(holder.Take(jar.Reply(Message(), 5, source, now, random), key, now))
      << "nothing was sent";
  const auto first = Sent();
  const auto second = Sent();
  EXPECT_FALSE(holder.Take(jar.Reply(first, 5, source, now, random), key, now));
  CookieReplyMessage reply = jar.Reply(second, 5, source, now, random);
  reply.sealed_cookie[7] ^= 1;
  EXPECT_FALSE(holder.Take(reply, key, now));
  reply.sealed_cookie[7] ^= 1;
  EXPECT_TRUE(holder.Take(reply, key, now));
  EXPECT_FALSE(holder.Take(reply, key, now));
}

}  // namespace
}  // namespace im::tunnel
