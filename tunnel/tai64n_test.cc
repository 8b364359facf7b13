#include "tunnel/tai64n.h"

#include <gtest/gtest.h>

namespace im::tunnel {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kNoon = 1'700'000'000 * kSecond;

TEST(Tai64nTest, TheLabelIsBigEndianFromTheTaiEpoch) {
  const Tai64n label = Tai64n::FromUnixNanos(kSecond + 0x01020304);
  EXPECT_EQ(label.bytes, (std::array<uint8_t, 12>{0x40, 0, 0, 0, 0, 0, 0, 0x0b, 1, 2, 3, 4}));
}

TEST(Tai64nTest, LabelsCompareAsTimesDo) {
  EXPECT_LT(Tai64n::FromUnixNanos(kNoon), Tai64n::FromUnixNanos(kNoon + 1));
  EXPECT_LT(Tai64n::FromUnixNanos(kNoon + kSecond - 1), Tai64n::FromUnixNanos(kNoon + kSecond));
  EXPECT_LT(Tai64n(), Tai64n::FromUnixNanos(0));
}

TEST(StampSourceTest, StampsOfOnePeerAlwaysGrow) {
  StampSource source;
  int64_t last = 0;
  Tai64n previous;
  // Forward, not at all, and far back.
  for (int64_t now : {kNoon, kNoon, kNoon + 1, kNoon + kSecond, kNoon - 3600 * kSecond, int64_t{0},
                      int64_t{-5}, kNoon + 2 * kSecond}) {
    const Tai64n stamp = source.Next(now, last);
    EXPECT_LT(previous, stamp) << now;
    previous = stamp;
  }
}

TEST(StampSourceTest, ManyPeersAtOnceDoNotPushEachOtherIntoTheFuture) {
  StampSource source;
  int64_t last = 0;
  const Tai64n first = source.Next(kNoon, last);
  for (int i = 0; i < 1000; ++i) {
    int64_t other = 0;
    EXPECT_EQ(source.Next(kNoon, other), first);
  }
}

TEST(StampSourceTest, APeerThatComesBackGetsALaterStamp) {
  StampSource source;
  int64_t last = 0;
  source.Next(kNoon, last);
  const Tai64n before = source.Next(kNoon, last);
  source.Forget(last);
  int64_t again = 0;
  EXPECT_LT(before, source.Next(kNoon - 10 * kSecond, again));
}

TEST(StampSourceTest, PeersThatComeAndGoDoNotPushStampsIntoTheFuture) {
  StampSource source;
  int64_t last = 0;
  for (int i = 0; i < 100'000; ++i) {
    last = 0;
    source.Next(kNoon, last);
    source.Forget(last);
  }
  EXPECT_LT(last, kNoon + kSecond);
}

TEST(StampSourceTest, StampsDoNotTellTheTimeExactly) {
  StampSource source;
  int64_t one = 0;
  int64_t two = 0;
  const int64_t tick = int64_t{1} << 24;
  const int64_t begin = kNoon / tick * tick + tick;
  EXPECT_EQ(source.Next(begin, one), source.Next(begin + tick - 1, two));
}

}  // namespace
}  // namespace im::tunnel
