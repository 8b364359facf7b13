#include "base/ip_address.h"

#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/in.h>

#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash_testing.h"
#include "base/random.h"

namespace im {
namespace {

IpAddress Ip(const char* text) { return IpAddress::Parse(text).value(); }
IpPrefix Prefix(const char* text) { return IpPrefix::Parse(text).value(); }

TEST(IpAddressTest, TextRoundTrips) {
  for (const char* text : {"0.0.0.0", "10.77.0.3", "255.255.255.255", "::", "::1", "fd00::3",
                           "2001:db8:1:2:3:4:5:6"})
    EXPECT_EQ(Ip(text).ToString(), text);
}

TEST(IpAddressTest, V4MappedTextIsTheV4Address) {
  EXPECT_EQ(Ip("::ffff:10.0.0.1"), Ip("10.0.0.1"));
  EXPECT_EQ(Ip("::ffff:a00:1"), Ip("10.0.0.1"));
  EXPECT_TRUE(Ip("::ffff:10.0.0.1").is_v4());
  EXPECT_EQ(Ip("::ffff:10.0.0.1").ToString(), "10.0.0.1");
  EXPECT_FALSE(Ip("::fffe:10.0.0.1").is_v4());
}

TEST(IpAddressTest, RejectsWhatIsNoAddress) {
  for (const std::string text :
       {"", "10", "10.0.0", "10.0.0.256", "10.0.0.1 ", " 10.0.0.1", "10.0.0.01", "0x7f.0.0.1",
        "1.2.3.4.5", ":::", "1::2::3", "12345::", "fe80::1%lo", "10.0.0.1/8", "localhost"})
    EXPECT_FALSE(IpAddress::Parse(text)) << text;
  EXPECT_FALSE(IpAddress::Parse(std::string(1000, '1')));
  EXPECT_FALSE(IpAddress::Parse(absl::string_view("10.0.0.1\0x", 10)));
}

TEST(IpAddressTest, V4IsInHostOrder) {
  EXPECT_EQ(IpAddress::V4(0x0a4d0003).ToString(), "10.77.0.3");
  EXPECT_EQ(Ip("10.77.0.3").v4(), 0x0a4d0003u);
}

TEST(IpAddressTest, BytesAreOfTheFamilysSize) {
  EXPECT_EQ(Ip("10.77.0.3").bytes().size(), 4u);
  EXPECT_EQ(Ip("10.77.0.3").bytes()[0], 10);
  EXPECT_EQ(Ip("fd00::1").bytes().size(), 16u);
  EXPECT_EQ(IpAddress::FromBytes(Ip("10.77.0.3").bytes()), Ip("10.77.0.3"));
  EXPECT_EQ(IpAddress::FromBytes(Ip("fd00::1").bytes()), Ip("fd00::1"));
}

TEST(IpAddressTest, KnowsItsClasses) {
  EXPECT_TRUE(Ip("0.0.0.0").is_unspecified());
  EXPECT_TRUE(Ip("::").is_unspecified());
  EXPECT_FALSE(Ip("::1").is_unspecified());
  EXPECT_TRUE(Ip("127.255.0.1").is_loopback());
  EXPECT_TRUE(Ip("::1").is_loopback());
  EXPECT_FALSE(Ip("::2").is_loopback());
  EXPECT_FALSE(Ip("128.0.0.1").is_loopback());
  EXPECT_TRUE(Ip("224.0.0.1").is_multicast());
  EXPECT_TRUE(Ip("239.255.255.255").is_multicast());
  EXPECT_TRUE(Ip("255.255.255.255").is_multicast());
  EXPECT_TRUE(Ip("ff02::1").is_multicast());
  EXPECT_FALSE(Ip("240.0.0.1").is_multicast());
  EXPECT_FALSE(Ip("fe80::1").is_multicast());
}

TEST(IpPrefixTest, ParsesAndClearsHostBits) {
  EXPECT_EQ(Prefix("10.77.3.4/16").ToString(), "10.77.0.0/16");
  EXPECT_EQ(Prefix("10.77.3.4/31").ToString(), "10.77.3.4/31");
  EXPECT_EQ(Prefix("10.77.3.5/31").ToString(), "10.77.3.4/31");
  EXPECT_EQ(Prefix("10.77.3.4").ToString(), "10.77.3.4/32");
  EXPECT_EQ(Prefix("1.2.3.4/0").ToString(), "0.0.0.0/0");
  EXPECT_EQ(Prefix("fd00:1:2:3::9/49").ToString(), "fd00:1:2::/49");
  EXPECT_EQ(Prefix("fd00::9").ToString(), "fd00::9/128");
  EXPECT_EQ(Prefix("fd00::9/0").ToString(), "::/0");
  EXPECT_EQ(Prefix("::ffff:10.1.2.3/104"), Prefix("10.0.0.0/8"));
}

TEST(IpPrefixTest, RejectsWhatIsNoPrefix) {
  for (const char* text : {"10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "10.0.0.0/8/8", "/8", "",
                           "10.0.0.0/+8", "10.0.0.0/ 8", "fd00::/129", "10.0.0.0/1000000000",
                           "10.0/16", "::ffff:10.0.0.0/8"})
    EXPECT_FALSE(IpPrefix::Parse(text)) << text;
}

TEST(IpPrefixTest, LengthIsClampedToTheFamilys) {
  EXPECT_EQ(IpPrefix(Ip("10.0.0.1"), 99).length(), 32);
  EXPECT_EQ(IpPrefix(Ip("10.0.0.1"), -1).length(), 0);
  EXPECT_EQ(IpPrefix(Ip("::1"), 999).length(), 128);
}

TEST(IpPrefixTest, ContainsOnlyItsOwnFamily) {
  EXPECT_TRUE(Prefix("10.0.0.0/8").Contains(Ip("10.255.255.255")));
  EXPECT_FALSE(Prefix("10.0.0.0/8").Contains(Ip("11.0.0.0")));
  EXPECT_TRUE(Prefix("0.0.0.0/0").Contains(Ip("255.1.2.3")));
  EXPECT_FALSE(Prefix("0.0.0.0/0").Contains(Ip("::1")));
  // Kept v4-mapped inside, but that must not show.
  EXPECT_FALSE(Prefix("::/0").Contains(Ip("10.0.0.1")));
  EXPECT_TRUE(Prefix("::/0").Contains(Ip("fd00::1")));
}

TEST(IpPrefixTest, ContainsPrefixes) {
  EXPECT_TRUE(Prefix("10.0.0.0/8").Contains(Prefix("10.1.0.0/16")));
  EXPECT_TRUE(Prefix("10.0.0.0/8").Contains(Prefix("10.0.0.0/8")));
  EXPECT_FALSE(Prefix("10.1.0.0/16").Contains(Prefix("10.0.0.0/8")));
  EXPECT_FALSE(Prefix("::/0").Contains(Prefix("10.0.0.0/8")));
}

TEST(IpPrefixTest, AgreesWithABitByBitModel) {
  SeededRandom random(3);
  for (int i = 0; i < 2000; ++i) {
    uint8_t a[16], b[16];
    random.Fill(a);
    std::copy(a, a + 16, b);
    const size_t flipped = random.Below(128);
    b[flipped / 8] ^= static_cast<uint8_t>(0x80 >> (flipped % 8));
    const int length = static_cast<int>(random.Below(129));
    const IpPrefix prefix(IpAddress::FromBytes(a), length);
    EXPECT_TRUE(prefix.Contains(IpAddress::FromBytes(a)));
    EXPECT_EQ(prefix.Contains(IpAddress::FromBytes(b)), static_cast<int>(flipped) >= length);
  }
}

TEST(EndpointTest, TextRoundTrips) {
  for (const char* text : {"127.0.0.1:51820", "[::1]:51820", "10.0.0.1:0", "[fd00::2]:65535"})
    EXPECT_EQ(Endpoint::Parse(text).value().ToString(), text);
}

TEST(EndpointTest, RejectsWhatIsNoEndpoint) {
  for (const char* text :
       {"", ":80", "10.0.0.1", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:-1", "10.0.0.1:+1",
        "10.0.0.1: 1", "::1:80", "[::1]", "[::1]80", "[10.0.0.1]:80", "[::1:80", "host:80",
        "[fe80::1%]:80", "[fe80::1%0]:80", "[fe80::1%no-such-interface-here]:80",
        "[fe80::1%nolink]:80", "[fe80::1%-1]:80", "[fe80::1%4294967296]:80", "[fd00::1%lo]:80",
        "10.0.0.1%lo:80"})
    EXPECT_FALSE(Endpoint::Parse(text)) << text;
}

TEST(EndpointTest, ALinkLocalAddressHasAScope) {
  const uint32_t lo = if_nametoindex("lo");
  const Endpoint by_name = *Endpoint::Parse("[fe80::1%lo]:80");
  EXPECT_EQ(by_name.scope, lo);
  const Endpoint by_number = *Endpoint::Parse("[fe80::1%4294967295]:80");
  EXPECT_EQ(by_number.scope, 4294967295u);
  EXPECT_EQ(by_number.ToString(), "[fe80::1%4294967295]:80");
  EXPECT_EQ(Endpoint::Parse(by_name.ToString()), by_name);
  EXPECT_NE(by_name, *Endpoint::Parse("[fe80::1]:80"));
  sockaddr_storage storage;
  by_number.ToSockaddr(storage);
  EXPECT_EQ(Endpoint::FromSockaddr(storage), by_number);
}

TEST(EndpointTest, SockaddrRoundTripsInItsOwnFamily) {
  sockaddr_storage storage;
  const Endpoint v4 = *Endpoint::Parse("10.1.2.3:4567");
  EXPECT_EQ(v4.ToSockaddr(storage), sizeof(sockaddr_in));
  EXPECT_EQ(storage.ss_family, AF_INET);
  EXPECT_EQ(Endpoint::FromSockaddr(storage), v4);
  const Endpoint v6 = *Endpoint::Parse("[fd00::7]:89");
  EXPECT_EQ(v6.ToSockaddr(storage), sizeof(sockaddr_in6));
  EXPECT_EQ(storage.ss_family, AF_INET6);
  EXPECT_EQ(Endpoint::FromSockaddr(storage), v6);
}

TEST(EndpointTest, AV4MappedSockaddrIsV4) {
  // As a dual-stack socket reports an IPv4 peer.
  sockaddr_storage storage{};
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(80);
  const uint8_t mapped[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1};
  std::copy(mapped, mapped + 16, in6.sin6_addr.s6_addr);
  std::copy_n(reinterpret_cast<const uint8_t*>(&in6), sizeof(in6),
              reinterpret_cast<uint8_t*>(&storage));
  EXPECT_EQ(Endpoint::FromSockaddr(storage).ToString(), "10.0.0.1:80");
}

TEST(EndpointTest, AnotherFamilyGivesTheEmptyEndpoint) {
  sockaddr_storage storage{};
  storage.ss_family = AF_UNIX;
  EXPECT_EQ(Endpoint::FromSockaddr(storage), Endpoint{});
}

TEST(IpAddressTest, HashesAgreeWithEquality) {
  EXPECT_TRUE(absl::VerifyTypeImplementsAbslHashCorrectly(
      std::vector<IpAddress>{Ip("10.0.0.1"), Ip("10.0.0.2"), Ip("::"), Ip("::ffff:10.0.0.1")}));
  EXPECT_TRUE(absl::VerifyTypeImplementsAbslHashCorrectly(std::vector<IpPrefix>{
      Prefix("10.0.0.0/8"), Prefix("10.0.0.0/9"), Prefix("::/0"), Prefix("0.0.0.0/0")}));
  EXPECT_TRUE(absl::VerifyTypeImplementsAbslHashCorrectly(std::vector<Endpoint>{
      Endpoint{Ip("10.0.0.1"), 1}, Endpoint{Ip("10.0.0.1"), 2}, Endpoint{Ip("::1"), 1}}));
}

}  // namespace
}  // namespace im
