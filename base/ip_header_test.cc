#include "base/ip_header.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/big_endian.h"
#include "base/checksum.h"
#include "base/ip_build.h"
#include "base/random.h"

namespace im {
namespace {

using Bytes = std::vector<uint8_t>;

const Endpoint kA4 = *Endpoint::Parse("10.77.0.2:43512");
const Endpoint kB4 = *Endpoint::Parse("10.77.0.3:6379");
const Endpoint kA6 = *Endpoint::Parse("[fd00::2]:43512");
const Endpoint kB6 = *Endpoint::Parse("[fd00::3]:6379");

Bytes Hello() { return {'h', 'e', 'l', 'l', 'o'}; }

Bytes Tcp4() {
  static constexpr uint8_t kMss[] = {2, 4, 5, 0x64};
  return BuildTcp(kA4, kB4, {.sequence = 0x01020304, .acknowledgment = 0x05060708,
                             .flags = kTcpSyn, .window = 1000, .options = kMss}, Hello());
}
Bytes Udp6() { return BuildUdp(kA6, kB6, Hello()); }

// Puts extension headers between the IPv6 header and the transport.
Bytes WithExtensions(Bytes packet, uint8_t first, const Bytes& extensions) {
  packet[6] = first;
  packet.insert(packet.begin() + 40, extensions.begin(), extensions.end());
  StoreBig16(&packet[4], static_cast<uint16_t>(packet.size() - 40));
  return packet;
}

TEST(ParseIpTest, TcpOverIpv4) {
  const Bytes packet = Tcp4();
  const auto view = ParseIp(packet);
  ASSERT_TRUE(view);
  EXPECT_FALSE(view->v6);
  EXPECT_EQ(view->source, kA4.address);
  EXPECT_EQ(view->destination, kB4.address);
  EXPECT_EQ(view->source_port, 43512);
  EXPECT_EQ(view->destination_port, 6379);
  EXPECT_EQ(view->protocol, kProtocolTcp);
  EXPECT_EQ(view->total_size, 49);
  EXPECT_EQ(view->transport_offset, 20);
  EXPECT_EQ(view->payload_offset, 44);
  EXPECT_EQ(view->payload_size(), 5);
  EXPECT_EQ(view->tcp_sequence, 0x01020304u);
  EXPECT_EQ(view->tcp_acknowledgment, 0x05060708u);
  EXPECT_TRUE(view->is_syn());
  EXPECT_FALSE(view->is_rst());
  EXPECT_FALSE(view->fragment);
}

TEST(ParseIpTest, UdpOverIpv6) {
  const auto view = ParseIp(Udp6());
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->v6);
  EXPECT_TRUE(view->is_udp());
  EXPECT_EQ(view->flow(), (FlowKey{kA6.address, kB6.address, 43512, 6379, kProtocolUdp}));
  EXPECT_EQ(view->flow().Reversed().source_port, 6379);
  EXPECT_EQ(view->transport_offset, 40);
  EXPECT_EQ(view->payload_offset, 48);
  EXPECT_EQ(view->payload_size(), 5);
}

TEST(ParseIpTest, EchoRequests) {
  const auto v4 = ParseIp(BuildEchoRequest(kA4.address, kB4.address, 1, 2, Hello()));
  ASSERT_TRUE(v4);
  EXPECT_TRUE(v4->is_echo_request());
  EXPECT_EQ(v4->payload_size(), 5);
  EXPECT_EQ(v4->source_port, 0);
  const auto v6 = ParseIp(BuildEchoRequest(kA6.address, kB6.address, 1, 2));
  ASSERT_TRUE(v6);
  EXPECT_TRUE(v6->is_echo_request());
  EXPECT_EQ(v6->payload_size(), 0);
}

TEST(ParseIpTest, AnIcmpOfTheOtherFamilyIsNoIcmp) {
  Bytes packet = BuildEchoRequest(kA6.address, kB6.address, 1, 2);
  packet[6] = kProtocolIcmp;
  packet[40] = 8;
  const auto view = ParseIp(packet);
  ASSERT_TRUE(view);
  EXPECT_FALSE(view->is_echo_request());
}

TEST(ParseIpTest, EcnIsReadInBothFamilies) {
  Bytes v4 = Tcp4();
  v4[1] = 0xb8 | 3;
  EXPECT_EQ(ParseIp(v4)->ecn, 3);
  Bytes v6 = Udp6();
  v6[1] = 0x2f;  // the traffic class's low bits are the upper half of this byte
  EXPECT_EQ(ParseIp(v6)->ecn, 2);
}

TEST(ParseIpTest, TrailingBytesAreAllowed) {
  Bytes packet = Tcp4();
  packet.resize(packet.size() + 15);
  const auto view = ParseIp(packet);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->total_size, 49);
  EXPECT_EQ(view->payload_size(), 5);
}

TEST(ParseIpTest, EveryCutIsRefused) {
  for (const Bytes& packet : {Tcp4(), Udp6(), BuildEchoRequest(kA6.address, kB6.address, 1, 2)})
    for (size_t size = 0; size < packet.size(); ++size) {
      EXPECT_FALSE(ParseIp(std::span(packet).first(size))) << size;
      EXPECT_FALSE(ParseIpRoute(std::span(packet).first(size))) << size;
    }
}

TEST(ParseIpTest, WrongLengthsAreRefused) {
  struct Case {
    const char* what;
    size_t offset;
    uint8_t value;
    bool v6;
  };
  const Case cases[] = {
      {"version 0", 0, 0x05, false},
      {"version 5", 0, 0x55, false},
      {"version 15", 0, 0xf5, false},
      {"header of 16 bytes", 0, 0x44, false},
      {"header of 60 bytes in 49", 0, 0x4f, false},
      {"total size below the header's", 3, 19, false},
      {"total size of the header alone", 3, 20, false},
      {"total size above the buffer", 3, 50, false},
      {"huge total size", 2, 0xff, false},
      {"TCP header of 16 bytes", 32, 0x40, false},
      {"TCP header beyond the packet", 32, 0xf0, false},
      {"payload size above the buffer", 5, 14, true},
      {"UDP size of 7", 45, 7, true},
      {"UDP size of 0", 45, 0, true},
      {"UDP size above the packet", 45, 14, true},
      {"payload without room for UDP", 5, 7, true},
  };
  for (const Case& c : cases) {
    Bytes packet = c.v6 ? Udp6() : Tcp4();
    packet[c.offset] = c.value;
    EXPECT_FALSE(ParseIp(packet)) << c.what;
  }
}

TEST(ParseIpTest, Ipv4OptionsAreSkipped) {
  Bytes packet = Tcp4();
  packet[0] = 0x46;
  packet.insert(packet.begin() + 20, {1, 1, 1, 1});
  packet[3] = static_cast<uint8_t>(packet.size());
  const auto view = ParseIp(packet);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->transport_offset, 24);
  EXPECT_EQ(view->destination_port, 6379);
}

TEST(ParseIpTest, AFirstFragmentHasPortsALaterOneHasNot) {
  Bytes packet = Tcp4();
  StoreBig16(&packet[6], 0x2000);
  auto view = ParseIp(packet);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->fragment);
  EXPECT_EQ(view->destination_port, 6379);

  StoreBig16(&packet[6], 0x0001);
  view = ParseIp(packet);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->fragment);
  EXPECT_EQ(view->transport_offset, 0);
  EXPECT_EQ(view->destination_port, 0);
  EXPECT_FALSE(view->is_tcp());
  EXPECT_FALSE(view->is_syn());
  EXPECT_EQ(view->payload_size(), 29);
}

TEST(ParseIpTest, DontFragmentIsNoFragment) {
  EXPECT_FALSE(ParseIp(Tcp4())->fragment);  // our own packets have it set
}

TEST(ParseIpTest, AFirstUdpFragmentTellsTheWholeDatagramsSize) {
  Bytes packet = BuildUdp(kA4, kB4, Hello());
  StoreBig16(&packet[6], 0x2000);
  StoreBig16(&packet[24], 4000);
  const auto view = ParseIp(packet);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->destination_port, 6379);
}

TEST(ParseIpTest, ATinyFirstFragmentIsOpaque) {
  Bytes packet = Tcp4();
  packet.resize(28);
  packet[3] = 28;
  StoreBig16(&packet[6], 0x2000);
  const auto view = ParseIp(packet);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->fragment);
  EXPECT_EQ(view->transport_offset, 0);
  EXPECT_FALSE(view->is_tcp());
}

TEST(ParseIpTest, Ipv6ExtensionsAreWalked) {
  // hop-by-hop (8 bytes), destination options (16), routing (8), AH (16).
  const Bytes extensions = {60, 0, 1, 4, 0, 0, 0, 0,                               //
                            43, 1, 1, 4, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0, 0, 0,       //
                            51, 0, 4, 0, 0, 0, 0, 0,                               //
                            kProtocolUdp, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  const auto view = ParseIp(WithExtensions(Udp6(), 0, extensions));
  ASSERT_TRUE(view);
  EXPECT_EQ(view->transport_offset, 40 + 48);
  EXPECT_EQ(view->destination_port, 6379);
}

TEST(ParseIpTest, Ipv6FragmentHeaders) {
  Bytes fragment = {kProtocolUdp, 0, 0, 1, 0, 0, 0, 9};  // first of several
  auto view = ParseIp(WithExtensions(Udp6(), 44, fragment));
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->fragment);
  EXPECT_EQ(view->destination_port, 6379);

  fragment[3] = 8;  // a later one
  view = ParseIp(WithExtensions(Udp6(), 44, fragment));
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->fragment);
  EXPECT_EQ(view->protocol, kProtocolUdp);
  EXPECT_EQ(view->transport_offset, 0);
  EXPECT_EQ(view->payload_offset, 48);

  fragment[3] = 0;  // an atomic one is a whole packet (RFC 6946)
  view = ParseIp(WithExtensions(Udp6(), 44, fragment));
  ASSERT_TRUE(view);
  EXPECT_FALSE(view->fragment);
  EXPECT_TRUE(view->is_udp());
}

TEST(ParseIpTest, Ipv6ExtensionsThatDoNotFitAreRefused) {
  const Bytes packet = Udp6();
  EXPECT_FALSE(ParseIp(WithExtensions(packet, 0, {kProtocolUdp, 200, 0, 0, 0, 0, 0, 0})));
  EXPECT_FALSE(ParseIp(WithExtensions(packet, 51, {kProtocolUdp, 255, 0, 0, 0, 0, 0, 0})));
  // The fragment header itself is cut.
  Bytes cut(packet.begin(), packet.begin() + 44);
  cut[6] = 44;
  cut[5] = 4;
  EXPECT_FALSE(ParseIp(cut));
  // A jumbogram (RFC 2675) says payload size 0.
  Bytes jumbo = WithExtensions(packet, 0, {kProtocolUdp, 0, 0xc2, 4, 0, 1, 0, 0});
  StoreBig16(&jumbo[4], 0);
  EXPECT_FALSE(ParseIp(jumbo));
}

TEST(ParseIpTest, AnEndlessChainOfExtensionsIsRefused) {
  Bytes extensions;
  for (int i = 0; i < 1000; ++i) extensions.insert(extensions.end(), {60, 0, 0, 0, 0, 0, 0, 0});
  extensions[extensions.size() - 8] = kProtocolUdp;
  EXPECT_FALSE(ParseIp(WithExtensions(Udp6(), 60, extensions)));
}

TEST(ParseIpTest, V4MappedAddressesInIpv6AreRefused) {
  for (const size_t offset : {8, 24}) {
    Bytes packet = Udp6();
    const auto mapped = IpAddress::Parse("10.77.0.9")->mapped();
    std::copy(mapped.begin(), mapped.end(), packet.begin() + static_cast<long>(offset));
    EXPECT_FALSE(ParseIp(packet));
    EXPECT_FALSE(ParseIpRoute(packet));
  }
}

TEST(ParseIpTest, AnIpv6PacketAbove65535BytesIsRefused) {
  Bytes packet(40 + 65535);
  packet[0] = 0x60;
  packet[6] = 59;  // no next header
  StoreBig16(&packet[4], 65535);
  EXPECT_FALSE(ParseIp(packet));
  EXPECT_FALSE(ParseIpRoute(packet));
  StoreBig16(&packet[4], 65495);
  EXPECT_TRUE(ParseIp(packet));
}

TEST(ParseIpTest, AnUnknownProtocolIsAPacketWithoutPorts) {
  Bytes packet = Tcp4();
  packet[9] = 47;  // GRE
  const auto view = ParseIp(packet);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->transport_offset, 20);
  EXPECT_EQ(view->destination_port, 0);
  EXPECT_EQ(view->payload_size(), 29);
}

TEST(ParseIpRouteTest, AgreesWithParseIp) {
  for (const Bytes& packet : {Tcp4(), Udp6()}) {
    const auto route = ParseIpRoute(packet);
    const auto view = ParseIp(packet);
    ASSERT_TRUE(route && view);
    EXPECT_EQ(route->source, view->source);
    EXPECT_EQ(route->destination, view->destination);
    EXPECT_EQ(route->total_size, view->total_size);
  }
}

TEST(ParseIpTest, WhatItAcceptsLiesWithinTheBuffer) {
  for (uint64_t seed = 1; seed <= 20'000; ++seed) {
    SeededRandom random(seed);
    Bytes packet = seed % 2 == 0 ? Tcp4() : Udp6();
    for (int flips = 0; flips < 3; ++flips)
      packet[random.Below(packet.size())] = static_cast<uint8_t>(random.Below(256));
    const auto view = ParseIp(packet);
    if (!view) continue;
    ASSERT_LE(view->total_size, packet.size()) << seed;
    ASSERT_LE(view->payload_offset, view->total_size) << seed;
    ASSERT_LE(view->transport_offset, view->payload_offset) << seed;
    const auto route = ParseIpRoute(packet);
    ASSERT_TRUE(route) << seed;
    ASSERT_EQ(route->destination, view->destination) << seed;
  }
}

TEST(DescribePacketTest, SaysWhoToWhomAndWhat) {
  EXPECT_EQ(DescribePacket(Tcp4()), "10.77.0.2:43512 > 10.77.0.3:6379 TCP SYN 49 bytes");
  EXPECT_EQ(DescribePacket(BuildTcp(kA4, kB4, {.flags = kTcpSyn | kTcpAck})),
            "10.77.0.2:43512 > 10.77.0.3:6379 TCP SYN+ACK 40 bytes");
  EXPECT_EQ(DescribePacket(BuildTcp(kA4, kB4, {})),
            "10.77.0.2:43512 > 10.77.0.3:6379 TCP no flags 40 bytes");
  EXPECT_EQ(DescribePacket(Udp6()), "[fd00::2]:43512 > [fd00::3]:6379 UDP 53 bytes");
  EXPECT_EQ(DescribePacket(BuildEchoRequest(kA4.address, kB4.address, 1, 1)),
            "10.77.0.2 > 10.77.0.3 ICMP 8/0 28 bytes");
  EXPECT_EQ(DescribePacket(BuildEchoRequest(kA6.address, kB6.address, 1, 1)),
            "fd00::2 > fd00::3 ICMPv6 128/0 48 bytes");
  EXPECT_EQ(DescribePacket(Hello()), "not an IP packet, 5 bytes");
  Bytes later = Tcp4();
  StoreBig16(&later[6], 1);
  EXPECT_EQ(DescribePacket(later), "10.77.0.2 > 10.77.0.3 protocol 6 fragment 49 bytes");
}

}  // namespace
}  // namespace im
