#include "orchestrator/agent/early_packets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "base/ip_build.h"

namespace im::agent {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Bytes = std::vector<uint8_t>;
using Verdict = EarlyPackets::Verdict;

const IpAddress kEarlyHost = IpAddress::V4(0x0a4d0003);
const IpAddress kEarlyCaller = IpAddress::V4(0x0a4d0009);

Bytes Syn(uint16_t from, uint16_t to, uint32_t isn) {
  const uint8_t mss[] = {2, 4, 5, 0x8c};
  return BuildTcp({kEarlyCaller, from}, {kEarlyHost, to},
                  {.sequence = isn, .flags = kTcpSyn, .window = 64240, .options = mss});
}
Bytes SynAck(uint16_t from, uint16_t to, uint32_t isn) {
  return BuildTcp({kEarlyHost, to}, {kEarlyCaller, from},
                  {.sequence = 77, .acknowledgment = isn + 1,
                   .flags = kTcpSyn | kTcpAck, .window = 65535});
}
Bytes Rst(uint16_t from, uint16_t to, uint32_t acknowledgment) {
  return BuildTcp({kEarlyHost, to}, {kEarlyCaller, from},
                  {.acknowledgment = acknowledgment, .flags = kTcpRst | kTcpAck});
}
Bytes Udp(uint16_t from, uint16_t to, uint8_t number) {
  return BuildUdp({kEarlyCaller, from}, {kEarlyHost, to}, Bytes{number});
}
Bytes Unreachable(const Bytes& datagram) { return *BuildRefusal(datagram, RefusalKind::kPort); }

class EarlyPacketsTest : public testing::Test {
 protected:
  EarlyPacketsTest() { early_.OnProgramStart(now_); }

  static Packet AsPacket(const Bytes& bytes) {
    return {.data = const_cast<uint8_t*>(bytes.data()), .size = static_cast<uint32_t>(bytes.size())};
  }
  Verdict In(const Bytes& bytes) {
    return early_.OnInbound(AsPacket(bytes), *ParseIp(bytes), now_);
  }
  Verdict Out(const Bytes& bytes) {
    return early_.OnOutbound(AsPacket(bytes), *ParseIp(bytes), now_);
  }

  // Moves to the deadline and returns what is offered to the kernel there.
  std::vector<Bytes> NextOffers() {
    EXPECT_NE(early_.NextDeadline(), kNever);
    now_ = std::max(now_, early_.NextDeadline());
    PacketBatch offers, refusals;
    early_.OnTimer(now_, offers, refusals);
    refusals_.clear();
    for (const Packet& packet : refusals)
      refusals_.push_back(Bytes(packet.bytes().begin(), packet.bytes().end()));
    std::vector<Bytes> result;
    for (const Packet& packet : offers)
      result.push_back(Bytes(packet.bytes().begin(), packet.bytes().end()));
    return result;
  }

  static constexpr Duration kHoldFor = seconds(60);
  EarlyPackets early_{kHoldFor};
  const Instant start_ = Instant(seconds(1000));
  Instant now_ = start_;
  std::vector<Bytes> refusals_;
};

TEST_F(EarlyPacketsTest, ARefusedSynIsOfferedAgainUntilTheProgramListens) {
  const Bytes syn = Syn(40000, 80, 1000);
  EXPECT_EQ(In(syn), Verdict::kPass);
  Duration expected = EarlyPackets::kFirstRetry;
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(Out(Rst(40000, 80, 1001)), Verdict::kKeep) << "the refusal does not leave";
    EXPECT_EQ(early_.held(), 1u);
    EXPECT_EQ(early_.NextDeadline() - now_, expected) << i;
    EXPECT_THAT(NextOffers(), testing::ElementsAre(syn)) << i;
    expected = std::min(expected * 2, EarlyPackets::kLastRetry);
  }
  EXPECT_EQ(Out(SynAck(40000, 80, 1000)), Verdict::kPass);
  EXPECT_EQ(early_.held(), 0u);
  EXPECT_EQ(early_.NextDeadline(), start_ + kHoldFor) << "nothing waits any more";
}

// Of a host that has both families, whose program listens as `listening_` says.
class EarlyFamiliesTest : public EarlyPacketsTest {
 protected:
  EarlyFamiliesTest() { families_.OnProgramStart(now_); }

  // A SYN to port 80 by IPv6, and what its kernel says.
  Bytes Syn6(uint16_t from, uint32_t isn) const {
    return BuildTcp({kCaller6, from}, {kHost6, 80}, {.sequence = isn, .flags = kTcpSyn});
  }
  Bytes Rst6(uint16_t from, uint32_t acknowledgment) const {
    return BuildTcp({kHost6, 80}, {kCaller6, from},
                    {.acknowledgment = acknowledgment, .flags = kTcpRst | kTcpAck});
  }
  Bytes Udp6(uint8_t number) const {
    return BuildUdp({kCaller6, number}, {kHost6, 80}, Bytes{number});
  }
  Verdict In6(const Bytes& bytes) {
    return families_.OnInbound(AsPacket(bytes), *ParseIp(bytes), now_);
  }
  Verdict Out6(const Bytes& bytes) {
    return families_.OnOutbound(AsPacket(bytes), *ParseIp(bytes), now_);
  }
  // To the next deadline; each SYN of one port that is offered, or datagram, is refused.
  void Step(uint32_t acknowledgment) {
    now_ = std::max(now_, families_.NextDeadline());
    PacketBatch offers, refusals;
    families_.OnTimer(now_, offers, refusals);
    for (const Packet& packet : refusals) refused_.push_back(ParseIp(packet.bytes())->destination_port);
    for (const Packet& packet : offers) {
      const IpView view = *ParseIp(packet.bytes());
      Out6(view.is_tcp() ? Rst6(view.source_port, acknowledgment)
                         : Unreachable(Bytes(packet.bytes().begin(), packet.bytes().end())));
    }
  }

  const IpAddress kHost6 = *IpAddress::Parse("fd00::3"), kCaller6 = *IpAddress::Parse("fd00::9");
  bool listens4_ = false;
  int asked_ = 0;
  uint8_t asked_of_ = 0;  // which protocol
  EarlyPackets families_{kHoldFor, [this](uint8_t protocol, bool v6, uint16_t port) {
                           ++asked_;
                           asked_of_ = protocol;
                           EXPECT_FALSE(v6);
                           EXPECT_EQ(port, 80);
                           return listens4_;
                         }};
  std::vector<uint16_t> refused_;
};

TEST_F(EarlyFamiliesTest, APortIsOneOfItsFamily) {
  EXPECT_EQ(In6(Syn6(40000, 1000)), Verdict::kPass);
  EXPECT_EQ(Out6(Rst6(40000, 1001)), Verdict::kKeep);
  EXPECT_EQ(In6(Syn(40001, 80, 5)), Verdict::kPass) << "the other one may be open";
  EXPECT_EQ(Out6(SynAck(40001, 80, 5)), Verdict::kPass);
  EXPECT_EQ(families_.held(), 1u) << "and says nothing of this one";
  // The same of datagrams.
  const Bytes by6 = Udp6(1);
  EXPECT_EQ(In6(by6), Verdict::kPass);
  EXPECT_EQ(Out6(Unreachable(by6)), Verdict::kKeep);
  EXPECT_EQ(In6(Udp(1, 80, 1)), Verdict::kPass);
}

TEST_F(EarlyFamiliesTest, WhoTakesDatagramsByTheOtherFamilyRefusesThemByThisOneSoon) {
  EXPECT_EQ(In6(Udp6(1)), Verdict::kPass);
  EXPECT_EQ(Out6(Unreachable(Udp6(1))), Verdict::kKeep);
  EXPECT_EQ(In6(Udp6(2)), Verdict::kKeep);
  while (now_ < start_ + seconds(1)) Step(0);
  EXPECT_TRUE(refused_.empty()) << "it listens nowhere yet";
  EXPECT_LE(asked_, 21);
  EXPECT_EQ(asked_of_, kProtocolUdp);
  listens4_ = true;
  const Instant before = now_;
  while (refused_.empty() && now_ < before + seconds(1)) Step(0);
  EXPECT_EQ(refused_.size(), 2u);
  EXPECT_GE(now_ - before, EarlyPackets::kFamilyGrace) << "it may listen by both in a moment";
  EXPECT_LE(now_ - before, 3 * EarlyPackets::kFamilyGrace);
  EXPECT_EQ(families_.held(), 0u);
  EXPECT_EQ(In6(Udp6(3)), Verdict::kPass);
  EXPECT_EQ(Out6(Unreachable(Udp6(3))), Verdict::kPass);
  EXPECT_EQ(In6(Syn6(40000, 1000)), Verdict::kPass) << "TCP is another matter";
  EXPECT_EQ(Out6(Rst6(40000, 1001)), Verdict::kKeep);
}

TEST_F(EarlyFamiliesTest, WhoListensByTheOtherFamilyRefusesThisOneSoon) {
  EXPECT_EQ(In6(Syn6(40000, 1000)), Verdict::kPass);
  EXPECT_EQ(Out6(Rst6(40000, 1001)), Verdict::kKeep);
  EXPECT_EQ(In6(Syn6(40001, 1000)), Verdict::kKeep);
  while (now_ < start_ + seconds(1)) Step(1001);
  EXPECT_TRUE(refused_.empty()) << "it listens nowhere yet";
  EXPECT_LE(asked_, 21);
  listens4_ = true;
  const Instant before = now_;
  while (refused_.empty() && now_ < before + seconds(1)) Step(1001);
  EXPECT_EQ(refused_, (std::vector<uint16_t>{40000, 40001}));
  EXPECT_GE(now_ - before, EarlyPackets::kFamilyGrace) << "it may listen by both in a moment";
  EXPECT_LE(now_ - before, 3 * EarlyPackets::kFamilyGrace);
  EXPECT_EQ(families_.held(), 0u);
  // From then on its kernel answers, who may also have changed its mind.
  EXPECT_EQ(In6(Syn6(40002, 1000)), Verdict::kPass);
  EXPECT_EQ(Out6(Rst6(40002, 1001)), Verdict::kPass);
}

TEST_F(EarlyPacketsTest, OneProbeForAPortAndAllWhenItOpens) {
  In(Syn(40000, 80, 1000));
  Out(Rst(40000, 80, 1001));
  for (uint16_t i = 1; i < 100; ++i)
    EXPECT_EQ(In(Syn(40000 + i, 80, 1000)), Verdict::kKeep) << "the port is known to be closed";
  EXPECT_EQ(In(Syn(50000, 81, 5)), Verdict::kPass) << "another port is not";
  Out(SynAck(50000, 81, 5));
  EXPECT_EQ(early_.held(), 100u);
  EXPECT_THAT(NextOffers(), testing::ElementsAre(Syn(40000, 80, 1000)));
  EXPECT_EQ(Out(SynAck(40000, 80, 1000)), Verdict::kPass);
  EXPECT_EQ(early_.NextDeadline(), now_) << "the others follow at once";
  const std::vector<Bytes> offers = NextOffers();
  EXPECT_EQ(offers.size(), 99u);
  for (uint16_t i = 1; i < 100; ++i) EXPECT_EQ(Out(SynAck(40000 + i, 80, 1000)), Verdict::kPass);
  EXPECT_EQ(early_.NextDeadline(), start_ + kHoldFor);
}

TEST_F(EarlyPacketsTest, ASynDroppedByAFullAcceptQueueIsOfferedAgain) {
  const Bytes syn = Syn(40000, 80, 1000);
  In(syn);
  EXPECT_EQ(early_.held(), 0u) << "it is at the kernel, not refused";
  EXPECT_EQ(early_.NextDeadline() - now_, EarlyPackets::kUnanswered);
  EXPECT_THAT(NextOffers(), testing::ElementsAre(syn));
  EXPECT_EQ(early_.NextDeadline() - now_, EarlyPackets::kUnanswered * 2);
}

TEST_F(EarlyPacketsTest, APortThatClosesAgainHoldsAgain) {
  In(Syn(40000, 80, 1000));
  Out(SynAck(40000, 80, 1000));
  EXPECT_EQ(In(Syn(40001, 80, 2000)), Verdict::kPass);
  EXPECT_EQ(Out(Rst(40001, 80, 2001)), Verdict::kKeep);
  EXPECT_THAT(NextOffers(), testing::ElementsAre(Syn(40001, 80, 2000)));
}

TEST_F(EarlyPacketsTest, DuplicatesOfAWaitingSynAreNotHandedOver) {
  In(Syn(40000, 80, 1000));
  EXPECT_EQ(In(Syn(40000, 80, 1000)), Verdict::kPass) << "its fate is open: the kernel knows";
  Out(Rst(40000, 80, 1001));
  EXPECT_EQ(In(Syn(40000, 80, 1000)), Verdict::kKeep);
  EXPECT_EQ(early_.held(), 1u);
}

TEST_F(EarlyPacketsTest, ANewAttemptFromTheSamePortReplacesTheOld) {
  In(Syn(40000, 80, 1000));
  Out(Rst(40000, 80, 1001));
  EXPECT_EQ(In(Syn(40000, 80, 9000)), Verdict::kPass) << "nothing else waits at the port";
  EXPECT_EQ(Out(Rst(40000, 80, 9001)), Verdict::kKeep);
  EXPECT_EQ(early_.held(), 1u);
  EXPECT_THAT(NextOffers(), testing::ElementsAre(Syn(40000, 80, 9000)));
  EXPECT_EQ(Out(Rst(40000, 80, 1001)), Verdict::kPass) << "a refusal of nothing that we hold";
}

TEST_F(EarlyPacketsTest, ACallerThatResetsIsForgotten) {
  In(Syn(40000, 80, 1000));
  Out(Rst(40000, 80, 1001));
  In(Syn(40001, 80, 7));
  const Bytes reset = BuildTcp({kEarlyCaller, 40000}, {kEarlyHost, 80}, {.sequence = 1001, .flags = kTcpRst});
  EXPECT_EQ(In(reset), Verdict::kPass);
  EXPECT_EQ(early_.held(), 1u);
  EXPECT_THAT(NextOffers(), testing::ElementsAre(Syn(40001, 80, 7))) << "the next is the probe";
  In(BuildTcp({kEarlyCaller, 40001}, {kEarlyHost, 80}, {.sequence = 8, .flags = kTcpRst}));
  EXPECT_EQ(early_.NextDeadline(), start_ + kHoldFor);
}

TEST_F(EarlyPacketsTest, OtherResetsPass) {
  struct Case {
    const char* what;
    Bytes packet;
  };
  In(Syn(40000, 80, 1000));
  const Case kCases[] = {
      {"wrong acknowledgment", Rst(40000, 80, 1002)},
      {"other caller", Rst(40001, 80, 1001)},
      {"other port", Rst(40000, 81, 1001)},
      {"without ACK", BuildTcp({kEarlyHost, 80}, {kEarlyCaller, 40000},
                               {.sequence = 1001, .flags = kTcpRst})},
      {"data", BuildTcp({kEarlyHost, 80}, {kEarlyCaller, 40000},
                        {.sequence = 78, .acknowledgment = 1001, .flags = kTcpAck}, Bytes{1})},
  };
  for (const Case& c : kCases) EXPECT_EQ(Out(c.packet), Verdict::kPass) << c.what;
  EXPECT_EQ(early_.held(), 0u);
}

TEST_F(EarlyPacketsTest, ASynWithDataIsRefusedByAHigherAcknowledgment) {
  const Bytes syn = BuildTcp({kEarlyCaller, 40000}, {kEarlyHost, 80},
                             {.sequence = 0xffffffff, .flags = kTcpSyn}, Bytes(5, 'x'));
  In(syn);
  EXPECT_EQ(Out(Rst(40000, 80, 0xffffffff + 1 + 5)), Verdict::kKeep);
}

TEST_F(EarlyPacketsTest, WhenTheProgramIsOldItRefusesItself) {
  In(Syn(40000, 80, 1000));
  Out(Rst(40000, 80, 1001));
  In(Syn(40001, 80, 1000));
  const Bytes datagram = Udp(5000, 53, 1);
  In(datagram);
  Out(Unreachable(datagram));
  now_ = start_ + kHoldFor;
  EXPECT_THAT(NextOffers(), testing::IsEmpty());
  ASSERT_EQ(refusals_.size(), 3u);
  int resets = 0;
  for (const Bytes& refusal : refusals_) {
    const IpView view = *ParseIp(refusal);
    EXPECT_EQ(view.source, kEarlyHost);
    EXPECT_EQ(view.destination, kEarlyCaller);
    if (view.is_rst()) {
      ++resets;
      EXPECT_EQ(view.tcp_acknowledgment, 1001u);
    } else {
      EXPECT_EQ(view.icmp_code, 3);
    }
  }
  EXPECT_EQ(resets, 2);
  EXPECT_FALSE(early_.young());
  EXPECT_EQ(early_.NextDeadline(), kNever);
  EXPECT_EQ(In(Syn(40002, 80, 1)), Verdict::kPass);
  EXPECT_EQ(Out(Rst(40002, 80, 2)), Verdict::kPass);
}

TEST_F(EarlyPacketsTest, WhenTheProgramExitsAllIsRefusedAtOnce) {
  In(Syn(40000, 80, 1000));
  Out(Rst(40000, 80, 1001));
  In(Syn(40001, 81, 1000));  // at the kernel, unanswered
  PacketBatch refusals;
  early_.OnProgramExit(refusals);
  EXPECT_EQ(refusals.size(), 2u);
  for (const Packet& packet : refusals) EXPECT_TRUE(ParseIp(packet.bytes())->is_rst());
  EXPECT_EQ(early_.NextDeadline(), kNever);
  PacketBatch again;
  early_.OnProgramExit(again);
  EXPECT_TRUE(again.empty());
}

TEST_F(EarlyPacketsTest, BeforeTheProgramIsStartedEverythingPasses) {
  EarlyPackets early(kHoldFor);
  const Bytes syn = Syn(1, 2, 3);
  EXPECT_EQ(early.OnInbound(AsPacket(syn), *ParseIp(syn), now_), Verdict::kPass);
  EXPECT_EQ(early.NextDeadline(), kNever);
}

TEST_F(EarlyPacketsTest, ARefusedDatagramWaitsAndOthersWaitBehindIt) {
  const Bytes first = Udp(5000, 9000, 1);
  EXPECT_EQ(In(first), Verdict::kPass);
  EXPECT_EQ(Out(Unreachable(first)), Verdict::kKeep);
  EXPECT_EQ(In(Udp(5000, 9000, 2)), Verdict::kKeep);
  EXPECT_EQ(In(Udp(5001, 9000, 3)), Verdict::kKeep);
  EXPECT_EQ(early_.held(), 3u);
  EXPECT_EQ(early_.NextDeadline() - now_, EarlyPackets::kFirstRetry);
  EXPECT_THAT(NextOffers(), testing::ElementsAre(first));
  EXPECT_EQ(Out(Unreachable(first)), Verdict::kKeep);
  EXPECT_EQ(early_.NextDeadline() - now_, EarlyPackets::kFirstRetry * 2);
  EXPECT_THAT(NextOffers(), testing::ElementsAre(first));
  // No refusal: it was taken.
  EXPECT_EQ(early_.NextDeadline() - now_, EarlyPackets::kRefusedWithin);
  EXPECT_THAT(NextOffers(), testing::ElementsAre(Udp(5000, 9000, 2), Udp(5001, 9000, 3)));
  EXPECT_EQ(early_.held(), 0u);
  EXPECT_EQ(In(Udp(5000, 9000, 4)), Verdict::kPass);
  EXPECT_EQ(early_.NextDeadline(), start_ + kHoldFor) << "an open port is not watched";
}

TEST_F(EarlyPacketsTest, ATrainOfDatagramsStaysATrain) {
  const Bytes bytes = BuildUdp({kEarlyCaller, 5000}, {kEarlyHost, 9000}, Bytes(300));
  Packet train = AsPacket(bytes);
  train.segment_size = 100;
  train.checksum_partial = true;
  early_.OnInbound(train, *ParseIp(bytes), now_);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Out(Unreachable(bytes)), Verdict::kKeep) << "one a segment";
  EXPECT_EQ(early_.NextDeadline() - now_, EarlyPackets::kFirstRetry) << "they count once";
  now_ = early_.NextDeadline();
  PacketBatch offers, refusals;
  early_.OnTimer(now_, offers, refusals);
  ASSERT_EQ(offers.size(), 1u);
  EXPECT_EQ(offers[0].segment_size, 100);
  EXPECT_TRUE(offers[0].checksum_partial);
}

TEST_F(EarlyPacketsTest, APortThatTheProgramSendsFromIsOpen) {
  In(Udp(5000, 9000, 1));
  EXPECT_EQ(In(Udp(5000, 9000, 2)), Verdict::kKeep);
  EXPECT_EQ(Out(BuildUdp({kEarlyHost, 9000}, {kEarlyCaller, 5000}, Bytes{9})), Verdict::kPass);
  EXPECT_EQ(early_.NextDeadline(), now_);
  EXPECT_THAT(NextOffers(), testing::ElementsAre(Udp(5000, 9000, 2)));
  Out(BuildUdp({kEarlyHost, 9001}, {kEarlyCaller, 53}, Bytes{9}));
  EXPECT_EQ(In(Udp(53, 9001, 1)), Verdict::kPass);
  EXPECT_EQ(early_.NextDeadline(), start_ + kHoldFor);
}

TEST_F(EarlyPacketsTest, UnreachablesOfOthersPass) {
  In(Udp(5000, 9000, 1));
  EXPECT_EQ(Out(Unreachable(Udp(5001, 9000, 1))), Verdict::kPass);
  EXPECT_EQ(Out(Unreachable(Udp(5000, 9001, 1))), Verdict::kPass);
  Bytes host_unreachable = *BuildRefusal(Udp(5000, 9000, 1), RefusalKind::kHost);
  EXPECT_EQ(Out(host_unreachable), Verdict::kPass);
}

TEST_F(EarlyPacketsTest, CutQuotationsAreNotRead) {
  const Bytes datagram = Udp(5000, 9000, 1);
  In(datagram);
  const Bytes whole = Unreachable(datagram);
  for (size_t size = 28; size < 28 + 24; ++size) {
    Bytes cut(whole.begin(), whole.begin() + size);
    cut[2] = static_cast<uint8_t>(size >> 8);
    cut[3] = static_cast<uint8_t>(size);
    const auto view = ParseIp(cut);
    if (!view) continue;
    EXPECT_EQ(early_.OnOutbound(AsPacket(cut), *view, now_), Verdict::kPass) << size;
  }
}

TEST_F(EarlyPacketsTest, BeyondTheLimitSynsAreKeptFromTheKernelAndNotRemembered) {
  for (size_t i = 0; i < EarlyPackets::kHeldPacketsMax; ++i)
    EXPECT_EQ(In(Syn(static_cast<uint16_t>(1000 + i), 80, 1)), Verdict::kPass);
  EXPECT_EQ(In(Syn(60000, 80, 1)), Verdict::kKeep);
  EXPECT_EQ(Out(SynAck(1000, 80, 1)), Verdict::kPass);
  EXPECT_EQ(In(Syn(60000, 80, 1)), Verdict::kPass) << "there is room again";
}

TEST_F(EarlyPacketsTest, BeyondTheByteLimitDatagramsAreLost) {
  const Bytes large = BuildUdp({kEarlyCaller, 5000}, {kEarlyHost, 9000}, Bytes(1300));
  In(large);
  size_t kept = 1;
  for (int i = 0; i < 2000; ++i) {
    const size_t before = early_.held();
    In(large);
    if (early_.held() > before) ++kept;
  }
  EXPECT_EQ(kept, EarlyPackets::kHeldBytesMax / large.size());
}

TEST_F(EarlyPacketsTest, RepeatedAttemptsAndResetsDoNotAccumulate) {
  In(Syn(40000, 80, 0));
  Out(Rst(40000, 80, 1));
  for (uint32_t i = 1; i < 10'000; ++i) {
    In(Syn(40001, 80, i));
    if (i % 3 == 0)
      In(BuildTcp({kEarlyCaller, 40001}, {kEarlyHost, 80}, {.sequence = i + 1, .flags = kTcpRst}));
  }
  EXPECT_LE(early_.held(), 2u);
  Out(SynAck(40000, 80, 0));
  EXPECT_LE(NextOffers().size(), 2u);
}

}  // namespace
}  // namespace im::agent
