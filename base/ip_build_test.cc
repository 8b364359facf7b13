#include "base/ip_build.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/big_endian.h"
#include "base/checksum.h"
#include "base/random.h"

namespace im {
namespace {

using Bytes = std::vector<uint8_t>;

const Endpoint kFrom4 = *Endpoint::Parse("10.77.0.2:43512");
const Endpoint kTo4 = *Endpoint::Parse("10.77.0.3:6379");
const Endpoint kFrom6 = *Endpoint::Parse("[fd00::2]:43512");
const Endpoint kTo6 = *Endpoint::Parse("[fd00::3]:6379");

Bytes HelloBytes() { return {'h', 'e', 'l', 'l', 'o'}; }

// Parsed, and both checksums verified.
IpView Checked(const Bytes& packet) {
  const auto view = ParseIp(packet);
  EXPECT_TRUE(view.has_value());
  if (!view) return {};
  EXPECT_EQ(view->total_size, packet.size());
  EXPECT_TRUE(TransportChecksumIsRight(packet, *view));
  if (!view->v6) {
    EXPECT_EQ(FoldSum(SumBytes(std::span(packet).first(20))), 0xffff);
  }
  return *view;
}

TEST(BuildUdpTest, RoundTrips) {
  for (const bool v6 : {false, true}) {
    const Bytes packet = BuildUdp(v6 ? kFrom6 : kFrom4, v6 ? kTo6 : kTo4, HelloBytes());
    const IpView view = Checked(packet);
    EXPECT_TRUE(view.is_udp());
    EXPECT_EQ(view.destination_port, 6379);
    EXPECT_EQ(Bytes(packet.begin() + view.payload_offset, packet.end()), HelloBytes());
  }
}

TEST(BuildUdpTest, TheLargestDatagramFits) {
  const Bytes packet = BuildUdp(kFrom4, kTo4, Bytes(65535 - 28));
  EXPECT_EQ(Checked(packet).total_size, 65535);
  EXPECT_DEATH(BuildUdp(kFrom4, kTo4, Bytes(65535 - 27)), "check failed");
  EXPECT_DEATH(BuildUdp(kFrom4, kTo6, {}), "check failed");  // two families
}

TEST(BuildTcpTest, WritesEveryField) {
  static constexpr uint8_t kOptions[] = {2, 4, 5, 0x64, 1, 1, 4, 2};
  const Bytes packet = BuildTcp(kFrom6, kTo6, {.sequence = 0xfffffffe, .acknowledgment = 2,
                                           .flags = kTcpAck | kTcpPsh, .window = 513,
                                           .options = kOptions}, HelloBytes());
  const IpView view = Checked(packet);
  EXPECT_EQ(view.tcp_sequence, 0xfffffffeu);
  EXPECT_EQ(view.tcp_acknowledgment, 2u);
  EXPECT_EQ(view.tcp_flags, kTcpAck | kTcpPsh);
  EXPECT_EQ(LoadBig16(&packet[54]), 513);
  EXPECT_EQ(view.payload_offset, 40 + 28);
}

// ---- refusals of TCP: RFC 9293 3.5.2 ----

TEST(BuildTooBigTest, NamesTheMtuAndQuotesThePacket) {
  const Bytes big4 = BuildUdp(kFrom4, kTo4, Bytes(9000));
  const auto four = BuildTooBig(big4, 1420);
  ASSERT_TRUE(four);
  const IpView view4 = Checked(*four);
  EXPECT_EQ(view4.destination, kFrom4.address);
  EXPECT_EQ(view4.source, kTo4.address);
  EXPECT_EQ(view4.icmp_type, 3);
  EXPECT_EQ(view4.icmp_code, 4);
  EXPECT_EQ(LoadBig32(&(*four)[24]), 1420u);
  EXPECT_TRUE(std::equal(four->begin() + 28, four->end(), big4.begin()));
  EXPECT_LE(four->size(), 576u);

  const Bytes big6 = BuildUdp(kFrom6, kTo6, Bytes(9000));
  const auto six = BuildTooBig(big6, 1280);
  ASSERT_TRUE(six);
  const IpView view6 = Checked(*six);
  EXPECT_EQ(view6.icmp_type, 2);
  EXPECT_EQ(view6.icmp_code, 0);
  EXPECT_EQ(LoadBig32(&(*six)[44]), 1280u);
  EXPECT_LE(six->size(), 1280u);
}

TEST(BuildTooBigTest, TheMtuCanBeWrittenLater) {
  for (const auto& [from, to] : {std::pair(kFrom4, kTo4), std::pair(kFrom6, kTo6)}) {
    const Bytes big = BuildUdp(from, to, Bytes(9000));
    auto error = BuildTooBig(big, 0);
    ASSERT_TRUE(error);
    for (const int mtu : {65475, 1440}) {
      SetTooBigMtu(*error, mtu);
      EXPECT_EQ(*error, *BuildTooBig(big, mtu));
    }
  }
}

TEST(BuildTooBigTest, ErrorsAndMulticastAreNotAnswered) {
  const auto error = BuildTooBig(BuildUdp(kFrom4, kTo4, Bytes(2000)), 1420);
  EXPECT_FALSE(BuildTooBig(*error, 100));
  EXPECT_FALSE(BuildTooBig(BuildUdp(kFrom4, *Endpoint::Parse("224.0.0.1:5"), Bytes(2000)), 1420));
  EXPECT_FALSE(BuildTooBig(HelloBytes(), 1420));
}

TEST(BuildRefusalTest, ASynIsAnsweredWithRstAckOfTheNextSequence) {
  for (const bool v6 : {false, true}) {
    const Bytes syn = BuildTcp(v6 ? kFrom6 : kFrom4, v6 ? kTo6 : kTo4, {.sequence = 1000, .flags = kTcpSyn});
    const auto refusal = BuildRefusal(syn, RefusalKind::kHost);
    ASSERT_TRUE(refusal);
    const IpView view = Checked(*refusal);
    EXPECT_EQ(view.flow(), ParseIp(syn)->flow().Reversed());
    EXPECT_EQ(view.tcp_flags, kTcpRst | kTcpAck);
    EXPECT_EQ(view.tcp_sequence, 0u);
    EXPECT_EQ(view.tcp_acknowledgment, 1001u);
  }
}

TEST(BuildRefusalTest, SequenceNumbersWrap) {
  const Bytes fin = BuildTcp(kFrom4, kTo4, {.sequence = 0xfffffffe, .flags = kTcpFin}, HelloBytes());
  const auto refusal = BuildRefusal(fin, RefusalKind::kPort);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(Checked(*refusal).tcp_acknowledgment, 4u);  // 5 bytes and the FIN
}

TEST(BuildRefusalTest, ASegmentWithAckIsAnsweredWithRstAtThatNumber) {
  const Bytes data =
      BuildTcp(kFrom4, kTo4, {.sequence = 5, .acknowledgment = 777, .flags = kTcpAck}, HelloBytes());
  const auto refusal = BuildRefusal(data, RefusalKind::kPort);
  ASSERT_TRUE(refusal);
  const IpView view = Checked(*refusal);
  EXPECT_EQ(view.tcp_flags, kTcpRst);
  EXPECT_EQ(view.tcp_sequence, 777u);
  EXPECT_EQ(view.tcp_acknowledgment, 0u);
}

TEST(BuildRefusalTest, ARstIsNeverAnswered) {
  EXPECT_FALSE(BuildRefusal(BuildTcp(kFrom4, kTo4, {.flags = kTcpRst}), RefusalKind::kPort));
  EXPECT_FALSE(BuildRefusal(BuildTcp(kFrom4, kTo4, {.flags = kTcpRst | kTcpAck}), RefusalKind::kHost));
}

TEST(BuildRefusalTest, ARefusalIsNotRefused) {
  for (const Bytes& packet : {BuildTcp(kFrom4, kTo4, {.flags = kTcpSyn}), BuildUdp(kFrom4, kTo4, HelloBytes()),
                              BuildUdp(kFrom6, kTo6, HelloBytes())}) {
    const auto refusal = BuildRefusal(packet, RefusalKind::kPort);
    ASSERT_TRUE(refusal);
    EXPECT_FALSE(BuildRefusal(*refusal, RefusalKind::kPort));
  }
}

// ---- refusals of the rest: RFC 792, RFC 1122 3.2.2, RFC 4443 3.1 ----

TEST(BuildRefusalTest, ADatagramIsAnsweredWithUnreachableThatQuotesIt) {
  struct Case {
    bool v6;
    RefusalKind kind;
    uint8_t type, code;
  };
  for (const Case& c : {Case{false, RefusalKind::kPort, 3, 3}, Case{false, RefusalKind::kHost, 3, 1},
                        Case{true, RefusalKind::kPort, 1, 4}, Case{true, RefusalKind::kHost, 1, 3}}) {
    const Bytes packet = BuildUdp(c.v6 ? kFrom6 : kFrom4, c.v6 ? kTo6 : kTo4, HelloBytes());
    const auto refusal = BuildRefusal(packet, c.kind);
    ASSERT_TRUE(refusal);
    const IpView view = Checked(*refusal);
    EXPECT_EQ(view.source, ParseIp(packet)->destination);
    EXPECT_EQ(view.destination, ParseIp(packet)->source);
    EXPECT_EQ(view.icmp_type, c.type);
    EXPECT_EQ(view.icmp_code, c.code);
    EXPECT_EQ(Bytes(refusal->begin() + view.payload_offset, refusal->end()), packet);
  }
}

TEST(BuildRefusalTest, TheQuoteIsBounded) {
  const auto v4 = BuildRefusal(BuildUdp(kFrom4, kTo4, Bytes(9000)), RefusalKind::kPort);
  ASSERT_TRUE(v4);
  EXPECT_EQ(Checked(*v4).total_size, 576);
  const auto v6 = BuildRefusal(BuildUdp(kFrom6, kTo6, Bytes(9000)), RefusalKind::kPort);
  ASSERT_TRUE(v6);
  EXPECT_EQ(Checked(*v6).total_size, 1280);
}

TEST(BuildRefusalTest, AnEchoRequestToAnUnreachableHostIsAnswered) {
  const auto refusal =
      BuildRefusal(BuildEchoRequest(kFrom4.address, kTo4.address, 1, 1), RefusalKind::kHost);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(Checked(*refusal).icmp_type, 3);
}

TEST(BuildRefusalTest, WhatMustNotBeAnswered) {
  const Bytes udp = BuildUdp(kFrom4, kTo4, HelloBytes());
  Bytes later_fragment = udp;
  StoreBig16(&later_fragment[6], 0x0002);
  EXPECT_FALSE(BuildRefusal(later_fragment, RefusalKind::kPort));

  for (const char* destination : {"224.0.0.1", "255.255.255.255", "0.0.0.0"})
    EXPECT_FALSE(BuildRefusal(BuildUdp(kFrom4, {*IpAddress::Parse(destination), 1}, HelloBytes()),
                              RefusalKind::kPort))
        << destination;
  for (const char* source : {"0.0.0.0", "127.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1"})
    EXPECT_FALSE(BuildRefusal(BuildUdp({*IpAddress::Parse(source), 1}, kTo4, HelloBytes()),
                              RefusalKind::kPort))
        << source;
  EXPECT_FALSE(BuildRefusal(BuildUdp(kFrom6, {*IpAddress::Parse("ff02::1"), 1}, HelloBytes()),
                            RefusalKind::kPort));
  EXPECT_FALSE(BuildRefusal(BuildUdp({IpAddress(), 1}, kTo6, HelloBytes()), RefusalKind::kPort));

  for (const uint8_t type : {3, 4, 5, 11, 12}) {
    Bytes error = BuildEchoRequest(kFrom4.address, kTo4.address, 1, 1);
    error[20] = type;
    EXPECT_FALSE(BuildRefusal(error, RefusalKind::kHost)) << int{type};
  }
  EXPECT_FALSE(BuildRefusal(HelloBytes(), RefusalKind::kHost));
}

TEST(BuildRefusalTest, TrailingBytesAreNotQuoted) {
  Bytes packet = BuildUdp(kFrom4, kTo4, HelloBytes());
  const size_t size = packet.size();
  packet.resize(size + 16, 0xaa);
  const auto refusal = BuildRefusal(packet, RefusalKind::kPort);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(Checked(*refusal).payload_size(), size);
}

// ---- echo ----

TEST(BuildEchoReplyTest, AnswersWithTheSameBytes) {
  for (const bool v6 : {false, true}) {
    const Bytes request = BuildEchoRequest(v6 ? kFrom6.address : kFrom4.address,
                                           v6 ? kTo6.address : kTo4.address, 0x1234, 7, HelloBytes());
    Checked(request);
    const auto reply = BuildEchoReply(request);
    ASSERT_TRUE(reply);
    const IpView view = Checked(*reply);
    EXPECT_EQ(view.icmp_type, v6 ? 129 : 0);
    EXPECT_EQ(view.source, v6 ? kTo6.address : kTo4.address);
    const uint8_t* message = reply->data() + view.transport_offset;
    EXPECT_EQ(LoadBig16(message + 4), 0x1234);
    EXPECT_EQ(LoadBig16(message + 6), 7);
    EXPECT_EQ(Bytes(message + 8, message + 13), HelloBytes());
    EXPECT_FALSE(BuildEchoReply(*reply));
  }
}

TEST(BuildEchoReplyTest, OnlyEchoRequestsToOneHostAreAnswered) {
  EXPECT_FALSE(BuildEchoReply(BuildUdp(kFrom4, kTo4, HelloBytes())));
  EXPECT_FALSE(BuildEchoReply(
      BuildEchoRequest(kFrom4.address, *IpAddress::Parse("224.0.0.1"), 1, 1)));
  Bytes fragment = BuildEchoRequest(kFrom4.address, kTo4.address, 1, 1);
  StoreBig16(&fragment[6], 0x2000);
  EXPECT_FALSE(BuildEchoReply(fragment));
  EXPECT_FALSE(BuildEchoReply(HelloBytes()));
}

TEST(BuildEchoReplyTest, AReplyIsAsLargeAsTheRequestUpToTheLargest) {
  const Bytes request = BuildEchoRequest(kFrom6.address, kTo6.address, 1, 1, Bytes(65535 - 48));
  const auto reply = BuildEchoReply(request);
  ASSERT_TRUE(reply);
  EXPECT_EQ(Checked(*reply).total_size, 65535);
}

}  // namespace
}  // namespace im
