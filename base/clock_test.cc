#include "base/clock.h"

#include <gtest/gtest.h>

#include <ctime>

namespace im {
namespace {

using std::chrono::seconds;

TEST(RealClockTest, NeverGoesBackwards) {
  const RealClock clock;
  Instant last = clock.Now();
  for (int i = 0; i < 10'000; ++i) {
    const Instant now = clock.Now();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(RealClockTest, WallClockIsTheSystems) {
  const time_t before = time(nullptr);
  const int64_t nanos = RealClock().UnixNanos();
  EXPECT_GE(nanos / 1'000'000'000, before - 1);
  EXPECT_LE(nanos / 1'000'000'000, time(nullptr) + 1);
}

TEST(ManualClockTest, MovesOnlyWhenTold) {
  ManualClock clock;
  const Instant start = clock.Now();
  EXPECT_EQ(clock.Now(), start);
  const int64_t wall = clock.UnixNanos();
  clock.Advance(seconds(3));
  EXPECT_EQ(clock.Now() - start, seconds(3));
  EXPECT_EQ(clock.UnixNanos() - wall, 3'000'000'000);
}

TEST(ManualClockTest, AJumpOfTheWallClockLeavesMonotonicTimeAlone) {
  ManualClock clock;
  const Instant start = clock.Now();
  const int64_t wall = clock.UnixNanos();
  clock.JumpWall(-seconds(5));
  EXPECT_EQ(clock.Now(), start);
  EXPECT_EQ(clock.UnixNanos() - wall, -5'000'000'000);
}

}  // namespace
}  // namespace im
