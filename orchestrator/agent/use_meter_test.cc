#include "orchestrator/agent/use_meter.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/ip_build.h"

namespace im::agent {
namespace {

using std::chrono::milliseconds;

const IpAddress kUsedHost = IpAddress::V4(0x0a4d0003), kUsingHost = IpAddress::V4(0x0a4d0009),
                kProber = IpAddress::V4(0x0a4d0102);
const Instant kStart{std::chrono::seconds(1000)};

bool In(UseMeter& meter, const IpAddress& from, uint16_t port, size_t bytes = 10,
        Duration at = Duration(0)) {
  const std::vector<uint8_t> packet =
      BuildUdp({from, 999}, {kUsedHost, port}, std::vector<uint8_t>(bytes));
  return meter.CountsInbound(*ParseIp(packet), kStart + at);
}
bool Out(UseMeter& meter, const IpAddress& to, uint16_t port, size_t bytes = 10,
         Duration at = Duration(0)) {
  const std::vector<uint8_t> packet =
      BuildUdp({kUsedHost, port}, {to, 999}, std::vector<uint8_t>(bytes));
  return meter.CountsOutbound(*ParseIp(packet), kStart + at);
}

TEST(UseMeterTest, WithoutConfigurationAllCounts) {
  UseMeter meter{proto::IdlePolicy()};
  EXPECT_TRUE(In(meter, kUsingHost, 80));
  EXPECT_TRUE(Out(meter, kUsingHost, 80));
  EXPECT_TRUE(In(meter, kUsingHost, 80, 0));
}

TEST(UseMeterTest, WhatNamedSourcesSendAndAreSentDoesNot) {
  proto::IdlePolicy policy;
  policy.add_ignore_from("10.77.1.0/24");
  UseMeter meter(policy);
  EXPECT_FALSE(In(meter, kProber, 80));
  EXPECT_FALSE(Out(meter, kProber, 80));
  EXPECT_TRUE(In(meter, kUsingHost, 80));
  EXPECT_TRUE(Out(meter, kUsingHost, 80));
}

TEST(UseMeterTest, WhoIsNamedByOneAddressIsMeantByBoth) {
  const DualStack dual_stack(*IpPrefix::Parse("fd00:77::/96"));
  const auto in = [&](UseMeter& meter, const IpAddress& from) {
    const std::vector<uint8_t> packet =
        BuildUdp({dual_stack.ToV6(from), 999}, {dual_stack.ToV6(kUsedHost), 80}, {});
    return meter.CountsInbound(*ParseIp(packet), kStart);
  };
  proto::IdlePolicy policy;
  policy.add_ignore_from("10.77.1.0/24");
  UseMeter by_v4(policy, dual_stack);
  EXPECT_FALSE(in(by_v4, kProber));
  EXPECT_TRUE(in(by_v4, kUsingHost));
  policy.set_ignore_from(0, "fd00:77::10.77.1.2");
  UseMeter by_v6(policy, dual_stack);
  EXPECT_FALSE(in(by_v6, kProber));
  EXPECT_TRUE(in(by_v6, kUsingHost));
  EXPECT_TRUE(In(by_v6, kProber, 80)) << "an address of IPv6 names no other";
}

TEST(UseMeterTest, NorDoesTrafficOfNamedPorts) {
  proto::IdlePolicy policy;
  policy.add_ignore_ports(9100);
  UseMeter meter(policy);
  EXPECT_FALSE(In(meter, kUsingHost, 9100));
  EXPECT_FALSE(Out(meter, kUsingHost, 9100));
  EXPECT_TRUE(In(meter, kUsingHost, 80));
  EXPECT_TRUE(Out(meter, kUsingHost, 80));
  const std::vector<uint8_t> ping = BuildEchoRequest(kUsingHost, kUsedHost, 1, 1);
  EXPECT_TRUE(meter.CountsInbound(*ParseIp(ping), kStart));
}

TEST(UseMeterTest, ATrickleDoesNotCountUntilItIsMore) {
  proto::IdlePolicy policy;
  policy.set_below_bytes_per_s(1000);
  UseMeter meter(policy);
  EXPECT_FALSE(In(meter, kUsingHost, 80, 400));
  EXPECT_FALSE(Out(meter, kUsingHost, 80, 400, milliseconds(500)));
  EXPECT_TRUE(In(meter, kUsingHost, 80, 200, milliseconds(900))) << "both directions together";
  EXPECT_TRUE(In(meter, kUsingHost, 80, 1, milliseconds(950)));
  EXPECT_FALSE(In(meter, kUsingHost, 80, 999, milliseconds(1000))) << "a new second";
  EXPECT_TRUE(In(meter, kUsingHost, 80, 1000, milliseconds(3000)));
}

TEST(UseMeterTest, ProbesDoNotAddUp) {
  proto::IdlePolicy policy;
  policy.set_below_bytes_per_s(1000);
  policy.add_ignore_ports(9100);
  UseMeter meter(policy);
  EXPECT_FALSE(In(meter, kUsingHost, 9100, 1400));
  EXPECT_FALSE(In(meter, kUsingHost, 80, 900));
}

}  // namespace
}  // namespace im::agent
