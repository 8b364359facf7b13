#include "tunnel/rate_limiter.h"

#include <gtest/gtest.h>

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Instant kBegin = Instant(seconds(1000));
IpAddress V4(uint32_t i) { return IpAddress::V4(0x0a000000 + i); }

int CountAllowed(RateLimiter& limiter, const IpAddress& source, Instant now, int tries) {
  int allowed = 0;
  for (int i = 0; i < tries; ++i) allowed += limiter.Allow(source, now) ? 1 : 0;
  return allowed;
}

TEST(RateLimiterTest, ABurstThenTheRate) {
  RateLimiter limiter({.per_second = 20, .burst = 5, .sources_max = 10});
  EXPECT_EQ(CountAllowed(limiter, V4(1), kBegin, 100), 5);
  EXPECT_EQ(CountAllowed(limiter, V4(1), kBegin + milliseconds(49), 100), 0);
  EXPECT_EQ(CountAllowed(limiter, V4(1), kBegin + milliseconds(50), 100), 1);
  EXPECT_EQ(CountAllowed(limiter, V4(1), kBegin + milliseconds(200), 100), 3);
  // However long it was quiet, no more than the burst.
  EXPECT_EQ(CountAllowed(limiter, V4(1), kBegin + seconds(3600), 100), 5);
}

TEST(RateLimiterTest, SourcesAreCountedApartAndIpv6By64) {
  RateLimiter limiter({.per_second = 20, .burst = 5, .sources_max = 10});
  EXPECT_EQ(CountAllowed(limiter, V4(1), kBegin, 10), 5);
  EXPECT_EQ(CountAllowed(limiter, V4(2), kBegin, 10), 5);
  EXPECT_EQ(CountAllowed(limiter, *IpAddress::Parse("2001:db8::1"), kBegin, 10), 5);
  EXPECT_EQ(CountAllowed(limiter, *IpAddress::Parse("2001:db8::ffff:1"), kBegin, 10), 0);
  EXPECT_EQ(CountAllowed(limiter, *IpAddress::Parse("2001:db8:0:1::1"), kBegin, 10), 5);
}

TEST(RateLimiterTest, AFullTableRefusesNewSourcesUntilSomeAreQuiet) {
  RateLimiter limiter({.per_second = 20, .burst = 5, .sources_max = 100});
  for (uint32_t i = 0; i < 100; ++i) EXPECT_TRUE(limiter.Allow(V4(i), kBegin));
  EXPECT_FALSE(limiter.Allow(V4(1000), kBegin));
  EXPECT_EQ(limiter.sources(), 100u);
  EXPECT_TRUE(limiter.Allow(V4(5), kBegin)) << "known ones go on";
  EXPECT_TRUE(limiter.Allow(V4(1000), kBegin + seconds(2)));
  EXPECT_LT(limiter.sources(), 100u);
}

}  // namespace
}  // namespace im::tunnel
