#include "tunnel/path_mtu.h"

#include <gtest/gtest.h>

#include "tunnel/constants.h"

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A path of a round trip of 10 ms that carries inner packets of up to `carries`
// bytes, behind a link of up to `link`.
class PathMtuTest : public ::testing::Test {
 protected:
  // Sends packets of `size` for `time`, ten a second.
  void Use(int size, Duration time) {
    const Instant end = now + time;
    while (now < end) {
      path.OnSent(size, now, random);
      Pass(milliseconds(100));
    }
  }
  void Pass(Duration time) {
    const Instant end = now + time;
    for (; now < end; now += milliseconds(1)) {
      while (auto probe = path.TakeProbe()) {
        ++probes;
        if (probe->size > link) {
          path.OnRefused(probe->token, now, random);
        } else if (answers && probe->size <= carries) {
          answer = *probe;
          answer_at = now + milliseconds(10);
        }
      }
      if (answer && now >= answer_at) {
        const uint64_t token = answer->token;
        answer.reset();
        path.OnAnswer(token, now, random);
      }
      if (path.next() <= now) path.OnTimer(now, random);
    }
  }

  const ProtocolTimes times{1};
  SeededRandom random{1};
  Instant now{seconds(1)};
  PathMtu path{7, times};
  int carries = 65475;
  int link = 65475;
  bool answers = true;
  int probes = 0;
  std::optional<PathMtu::Probe> answer;
  Instant answer_at{};
};

TEST_F(PathMtuTest, NothingIsProbedForSmallPackets) {
  Use(500, seconds(100));
  EXPECT_EQ(probes, 0);
  EXPECT_EQ(path.mtu(), kPathMtuBase);
  EXPECT_EQ(path.next(), kNever);
}

TEST_F(PathMtuTest, AWidePathIsKnownAfterAFewRoundTrips) {
  Use(60000, milliseconds(100));
  EXPECT_EQ(path.mtu(), 65475);
  EXPECT_TRUE(path.settled());
  EXPECT_LE(probes, 8);
}

TEST_F(PathMtuTest, OnAnEthernetNothingIsLostToFindItOut) {
  carries = link = 1440;
  Use(60000, milliseconds(100));
  EXPECT_EQ(path.mtu(), 1440);
  EXPECT_TRUE(path.settled());
}

TEST_F(PathMtuTest, ANarrowPlaceBehindAWideLinkIsFoundByLosses) {
  carries = 8930;
  Use(60000, seconds(4));
  EXPECT_EQ(path.mtu(), 8920);
  EXPECT_TRUE(path.settled());
}

TEST_F(PathMtuTest, APathBelowTheUsualSizeIsFound) {
  carries = 1300;
  Use(1420, seconds(4));
  EXPECT_EQ(path.mtu(), 1280);
  Use(1420, seconds(4));
  EXPECT_TRUE(path.settled());
}

TEST_F(PathMtuTest, OneLossIsNoProof) {
  path.OnSent(60000, now, random);
  EXPECT_TRUE(path.TakeProbe());  // hello, lost
  Pass(milliseconds(1200));
  EXPECT_EQ(path.mtu(), 65475);
}

TEST_F(PathMtuTest, WhoNeverAnswersGetsTheUsualSize) {
  answers = false;
  Use(60000, seconds(500));
  EXPECT_EQ(path.mtu(), kPathMtuBase);
  EXPECT_EQ(probes, kProbesMax);
  EXPECT_EQ(path.next(), kNever);
  // Until it is heard of again.
  answers = true;
  path.OnPeerHeard();
  Use(60000, seconds(1));
  EXPECT_EQ(path.mtu(), 65475);
}

TEST_F(PathMtuTest, ABlackHoleIsLeftWithinSeconds) {
  Use(60000, seconds(10));
  ASSERT_EQ(path.mtu(), 65475);
  carries = 1440;  // and the link says nothing
  const Instant begin = now;
  while (path.mtu() > 1440 && now < begin + seconds(60)) Use(60000, milliseconds(100));
  EXPECT_LE(now - begin, kConfirmInterval + kProbesMax * kProbeTimeout + milliseconds(200));
  Use(60000, seconds(5));
  EXPECT_EQ(path.mtu(), 1440);
}

TEST_F(PathMtuTest, AWiderPathIsFoundAgainAfterAWhile) {
  carries = 1440;
  Use(60000, seconds(10));
  ASSERT_EQ(path.mtu(), 1440);
  carries = 65475;
  Use(60000, kRaiseInterval - seconds(20));
  EXPECT_EQ(path.mtu(), 1440);
  Use(60000, seconds(30));
  EXPECT_EQ(path.mtu(), 65475);
}

TEST_F(PathMtuTest, AQuietPathCostsNothing) {
  Use(60000, seconds(1));
  const int before = probes;
  Pass(seconds(3600));
  EXPECT_EQ(probes, before);
  EXPECT_EQ(path.next(), kNever);
}

TEST_F(PathMtuTest, AnotherPathBeginsAnew) {
  Use(60000, seconds(1));
  path.OnPathChanged();
  EXPECT_EQ(path.mtu(), kPathMtuBase);
  EXPECT_FALSE(path.settled());
  carries = 1200;
  Use(1420, seconds(8));
  EXPECT_EQ(path.mtu(), 1200);
}

TEST_F(PathMtuTest, AnswersToNothingAreNothing) {
  path.OnAnswer(0, now, random);
  path.OnAnswer(123, now, random);
  path.OnSent(2000, now, random);
  const auto probe = path.TakeProbe();
  path.OnAnswer(probe->token + 2, now, random);
  path.OnRefused(probe->token + 2, now, random);
  EXPECT_EQ(path.mtu(), kPathMtuBase);
  EXPECT_EQ(PathMtu::SlotOf(probe->token), 7u);
}

TEST(ProbeMessageTest, RoundTripsAndIsNoPacket) {
  std::vector<uint8_t> bytes(1420, 0xff);
  WriteProbe({.answer = false, .size = 1420, .token = 0x1122334455667788}, bytes);
  EXPECT_EQ(bytes[0] >> 4, 0) << "no version of IP";
  const auto probe = ParseProbe(bytes);
  ASSERT_TRUE(probe);
  EXPECT_FALSE(probe->answer);
  EXPECT_EQ(probe->size, 1420u);
  EXPECT_EQ(probe->token, 0x1122334455667788u);
  bytes.resize(1419);
  EXPECT_FALSE(ParseProbe(bytes)) << "cut on the way";
  bytes.resize(kProbeBytesMin);
  WriteProbe({.answer = true, .size = 1420, .token = 5}, bytes);
  EXPECT_TRUE(ParseProbe(bytes)->answer);
  bytes.resize(15);
  EXPECT_FALSE(ParseProbe(bytes));
}

}  // namespace
}  // namespace im::tunnel
