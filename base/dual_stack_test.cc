#include "base/dual_stack.h"

#include <gtest/gtest.h>

namespace im {
namespace {

IpAddress Address(const char* text) { return *IpAddress::Parse(text); }

TEST(DualStack, IsOffByItself) {
  const DualStack off;
  EXPECT_FALSE(off.on());
  EXPECT_EQ(off.ToV4(Address("fd12::a4d:2")), std::nullopt);
  EXPECT_EQ(off.Plain(Address("fd12::a4d:2")), Address("fd12::a4d:2"));
  EXPECT_EQ(off.HostPrefixes(Address("10.77.0.2")),
            std::vector{*IpPrefix::Parse("10.77.0.2/32")});
}

TEST(DualStack, TheLow32BitsAreTheIpv4Address) {
  const DualStack dual(*IpPrefix::Parse("fd12:3456:789a::/64"));
  ASSERT_TRUE(dual.on());
  EXPECT_EQ(dual.network().ToString(), "fd12:3456:789a::/96");
  const IpAddress v6 = dual.ToV6(Address("10.80.0.3"));
  EXPECT_EQ(v6, Address("fd12:3456:789a::10.80.0.3"));
  EXPECT_EQ(v6.ToString(), "fd12:3456:789a::a50:3");
  EXPECT_EQ(dual.ToV4(v6), Address("10.80.0.3"));
  EXPECT_EQ(dual.HostPrefixes(Address("10.80.0.3")),
            (std::vector{*IpPrefix::Parse("10.80.0.3/32"),
                         *IpPrefix::Parse("fd12:3456:789a::a50:3/128")}));
}

TEST(DualStack, AddressesOfOtherNetworksAreNobodys) {
  const DualStack dual(*IpPrefix::Parse("fd12::/96"));
  for (const char* other : {"fd13::a50:3", "fd12:0:0:0:0:1:a50:3", "::1", "fe80::1", "10.80.0.3"}) {
    EXPECT_EQ(dual.ToV4(Address(other)), std::nullopt) << other;
    EXPECT_EQ(dual.Plain(Address(other)), Address(other));
  }
  EXPECT_EQ(dual.Plain(Address("fd12::10.80.0.3")), Address("10.80.0.3"));
}

TEST(DualStack, EqualNetworksAreEqual) {
  EXPECT_EQ(DualStack(*IpPrefix::Parse("fd12::/48")), DualStack(*IpPrefix::Parse("fd12::/96")));
  EXPECT_NE(DualStack(*IpPrefix::Parse("fd12::/48")), DualStack());
}

}  // namespace
}  // namespace im
