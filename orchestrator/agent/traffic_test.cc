#include "orchestrator/agent/traffic.h"

#include <gtest/gtest.h>

#include "base/ip_build.h"

namespace im::agent {
namespace {

using Bytes = std::vector<uint8_t>;

const Endpoint kTrafficHost{IpAddress::V4(0x0a4d0003), 80};
const Endpoint kTrafficCaller{IpAddress::V4(0x0a4d0009), 40000};

Bytes Tcp(uint8_t flags, size_t payload, uint32_t sequence = 1) {
  return BuildTcp(kTrafficCaller, kTrafficHost, {.sequence = sequence, .flags = flags}, Bytes(payload));
}

TEST(TrafficTest, WhatWakes) {
  struct Case {
    const char* what;
    Bytes packet;
    Use use;
  };
  const Bytes ping = BuildEchoRequest(kTrafficCaller.address, kTrafficHost.address, 1, 1);
  const Case kCases[] = {
      {"SYN", Tcp(kTcpSyn, 0), Use::kSyn},
      {"SYN with data", Tcp(kTcpSyn, 9), Use::kSyn},
      {"data", Tcp(kTcpAck, 9), Use::kData},
      {"FIN", Tcp(kTcpAck | kTcpFin, 0), Use::kEnd},
      {"FIN with payload", Tcp(kTcpAck | kTcpFin, 3), Use::kData},
      {"RST", Tcp(kTcpRst, 0), Use::kEnd},
      {"SYN-ACK", Tcp(kTcpSyn | kTcpAck, 0), Use::kData},
      {"pure ACK, window update, or a keepalive without a byte", Tcp(kTcpAck, 0), Use::kNone},
      {"datagram", BuildUdp(kTrafficCaller, kTrafficHost, Bytes(3)), Use::kDatagram},
      {"empty datagram", BuildUdp(kTrafficCaller, kTrafficHost, {}), Use::kDatagram},
      {"ping", ping, Use::kPing},
      {"ping's reply", *BuildEchoReply(ping), Use::kPing},
      {"ICMP error", *BuildRefusal(BuildUdp(kTrafficHost, kTrafficCaller, {}), RefusalKind::kHost), Use::kNone},
  };
  for (const Case& c : kCases) {
    Traffic traffic;
    EXPECT_EQ(traffic.OfInbound(*ParseIp(c.packet)), c.use) << c.what;
  }
}

TEST(TrafficTest, WhatTheProgramSends) {
  Traffic traffic;
  EXPECT_EQ(traffic.OfOutbound(*ParseIp(Tcp(kTcpSyn, 0))), Use::kSyn);
  EXPECT_EQ(traffic.OfOutbound(*ParseIp(Tcp(kTcpAck, 0))), Use::kNone);
  EXPECT_EQ(traffic.OfOutbound(*ParseIp(Tcp(kTcpAck, 5))), Use::kData);
  EXPECT_EQ(traffic.OfOutbound(*ParseIp(Tcp(kTcpAck | kTcpFin, 0))), Use::kNone);
  EXPECT_EQ(traffic.OfOutbound(*ParseIp(Tcp(kTcpRst, 0))), Use::kNone);
}

TEST(TrafficTest, AKeepaliveOfOneByteCountsOnceAndNewBytesAlways) {
  Traffic traffic;
  EXPECT_EQ(traffic.OfInbound(*ParseIp(Tcp(kTcpAck, 1, 100))), Use::kData);
  EXPECT_EQ(traffic.OfInbound(*ParseIp(Tcp(kTcpAck, 1, 101))), Use::kData);
  EXPECT_EQ(traffic.OfInbound(*ParseIp(Tcp(kTcpAck, 1, 101))), Use::kNone);
  EXPECT_EQ(traffic.OfInbound(*ParseIp(Tcp(kTcpAck, 1, 101))), Use::kNone);
  EXPECT_EQ(traffic.OfInbound(*ParseIp(Tcp(kTcpAck, 1, 102))), Use::kData);
}

TEST(TrafficTest, ManyFlowsOfOneByteDoNotDisturb) {
  Traffic traffic;
  for (uint16_t port = 1; port < 1000; ++port) {
    const Bytes probe =
        BuildTcp({kTrafficCaller.address, port}, kTrafficHost, {.sequence = 7, .flags = kTcpAck}, Bytes(1));
    EXPECT_EQ(traffic.OfInbound(*ParseIp(probe)), Use::kData);
    EXPECT_EQ(traffic.OfInbound(*ParseIp(probe)), Use::kNone);
  }
}

}  // namespace
}  // namespace im::agent
