#include "tunnel/mtu_notices.h"

#include <gtest/gtest.h>

#include <string>

#include "base/ip_build.h"
#include "base/ip_header.h"

namespace im::tunnel {
namespace {

std::vector<uint8_t> Udp(const char* from, const char* to, size_t payload) {
  return BuildUdp({*IpAddress::Parse(from), 1}, {*IpAddress::Parse(to), 2},
                  std::vector<uint8_t>(payload));
}

TEST(MtuNoticesTest, TheLargestOfAPairCounts) {
  MtuNotices notices;
  for (const int size : {2000, 3000, 1500}) {
    notices.Owe(Udp("10.0.0.1", "10.0.0.2", static_cast<size_t>(size) - 28), size);
  }
  PacketBatch inside;
  notices.Pay(2500, inside);
  ASSERT_EQ(inside.size(), 1u);
  const auto expected = BuildTooBig(Udp("10.0.0.1", "10.0.0.2", 2000 - 28), 2500);
  EXPECT_TRUE(std::equal(inside[0].bytes().begin(), inside[0].bytes().end(), expected->begin(),
                         expected->end()));
  notices.Pay(1000, inside);
  EXPECT_EQ(inside.size(), 1u) << "forgotten";
}

TEST(MtuNoticesTest, Ipv6NeverLearnsOfLessThanItsLeast) {
  MtuNotices notices;
  notices.Owe(Udp("fd00::1", "fd00::2", 1352), 1400);
  notices.Owe(Udp("fd00::1", "fd00::3", 1232), 1280);
  PacketBatch inside;
  notices.Pay(516, inside);
  ASSERT_EQ(inside.size(), 1u);
  EXPECT_EQ(ParseIp(inside[0].bytes())->icmp_type, 2);
  EXPECT_EQ(inside[0].data[46] << 8 | inside[0].data[47], 1280);
}

TEST(MtuNoticesTest, OnlySoManyAreRemembered) {
  MtuNotices notices;
  for (size_t i = 0; i < 2 * kMtuNoticesMax; ++i) {
    const std::string to = "10.0.1." + std::to_string(i + 1);
    notices.Owe(Udp("10.0.0.1", to.c_str(), 3000), 3028);
  }
  PacketBatch inside;
  notices.Pay(1420, inside);
  EXPECT_EQ(inside.size(), kMtuNoticesMax);
}

TEST(MtuNoticesTest, WhatMustNotBeAnsweredIsNotOwed) {
  MtuNotices notices;
  notices.Owe(Udp("10.0.0.1", "224.0.0.1", 3000), 3028);
  notices.Owe(*BuildTooBig(Udp("10.0.0.1", "10.0.0.2", 3000), 1420), 3028);
  notices.Owe(std::vector<uint8_t>(3, 0x45), 3028);
  PacketBatch inside;
  notices.Pay(1420, inside);
  EXPECT_TRUE(inside.empty());
}

}  // namespace
}  // namespace im::tunnel
