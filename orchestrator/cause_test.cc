#include "orchestrator/cause.h"

#include <gtest/gtest.h>

#include "orchestrator/test_packets.h"

namespace im::orchestrator {
namespace {

std::string NameOf(const IpAddress& address) {
  return address == TestAddress(200) ? "app" : address.ToString();
}

std::string TextOf(const std::vector<uint8_t>& bytes) {
  TestPacket packet(bytes);
  return CauseText(CauseOfPacket(packet.view()), NameOf);
}

TEST(Cause, PacketsAreNamedByWhatTheyAre) {
  EXPECT_EQ(TextOf(Syn(43512, 3)), "SYN from app:43512 to :6379");
  EXPECT_EQ(TextOf(Udp(5353, 3)), "datagram from app:5353 to :53");
  EXPECT_EQ(TextOf(BuildEchoRequest(TestAddress(200), TestAddress(3), 1, 1)), "ping from app");
  EXPECT_EQ(TextOf(Tcp(9, 80, 3, 6379, kTcpAck, 1, 10)), "data from 10.77.0.9:80 to :6379");
}

TEST(Cause, OtherKindsSayTheirDetail) {
  EXPECT_EQ(CauseText(MakeCause(Cause::Kind::kUser), NameOf), "im wake");
  EXPECT_EQ(CauseText(MakeCause(Cause::Kind::kWakeWith, "master"), NameOf), "wakes with master");
  EXPECT_EQ(CauseText(MakeCause(Cause::Kind::kPublishedPort, "127.0.0.1:8080"), NameOf),
            "published port 127.0.0.1:8080");
  EXPECT_EQ(CauseText(MakeCause(Cause::Kind::kUnknown, "imd was restarted"), NameOf),
            "imd was restarted");
}

TEST(Cause, EveryKindHasItsNumberInTheProtocol) {
  for (int kind = 0; kind <= static_cast<int>(Cause::Kind::kRestart); ++kind) {
    ASSERT_TRUE(proto::WakeCause::Kind_IsValid(kind));
    const Cause cause = MakeCause(static_cast<Cause::Kind>(kind), "x");
    EXPECT_EQ(FromProto(ToProto(cause)).kind, cause.kind);
    EXPECT_FALSE(CauseText(cause, NameOf).empty()) << kind;
  }
  EXPECT_EQ(proto::WakeCause::Kind_MAX, static_cast<int>(Cause::Kind::kRestart));
  EXPECT_EQ(proto::WakeCause::SYN, static_cast<int>(Cause::Kind::kSyn));
  EXPECT_EQ(proto::WakeCause::GROUP, static_cast<int>(Cause::Kind::kGroup));
}

TEST(Cause, SurvivesTheWayToTheAgentAndBack) {
  TestPacket syn(Syn(43512, 3));
  const Cause cause = CauseOfPacket(syn.view());
  const Cause back = FromProto(ToProto(cause));
  EXPECT_EQ(back.kind, cause.kind);
  EXPECT_EQ(back.flow, cause.flow);
}

TEST(Cause, WhatAnAgentSendsIsNotTrusted) {
  proto::WakeCause in;
  in.set_kind(proto::WakeCause::SYN);
  in.set_source("abc");  // neither 4 nor 16 bytes
  in.set_source_port(70'000);
  in.set_protocol(256);
  in.set_detail("a\x1b[2Jb\n" + std::string(10'000, 'x'));
  const Cause cause = FromProto(in);
  EXPECT_TRUE(cause.flow.source.is_unspecified());
  EXPECT_EQ(cause.flow.source_port, 0);
  EXPECT_EQ(cause.flow.protocol, 0);
  EXPECT_EQ(cause.detail.substr(0, 7), "a?[2Jb?");
  EXPECT_LE(cause.detail.size(), 200u);
  EXPECT_EQ(CauseText(cause, NameOf), "SYN");
}

}  // namespace
}  // namespace im::orchestrator
