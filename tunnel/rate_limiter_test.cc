#include "tunnel/rate_limiter.h"

#include <gtest/gtest.h>

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Instant kLimiterBegin = Instant(seconds(1000));
IpAddress Source(uint32_t i) { return IpAddress::V4(0x0a000000 + i); }

int CountAllowed(RateLimiter& limiter, const IpAddress& source, Instant now, int tries) {
  int allowed = 0;
  for (int i = 0; i < tries; ++i) allowed += limiter.Allow(source, now) ? 1 : 0;
  return allowed;
}

TEST(RateLimiterTest, ABurstThenTheRate) {
  RateLimiter limiter({.per_second = 20, .burst = 5, .sources_max = 10});
  EXPECT_EQ(CountAllowed(limiter, Source(1), kLimiterBegin, 100), 5);
  EXPECT_EQ(CountAllowed(limiter, Source(1), kLimiterBegin + milliseconds(49), 100), 0);
  EXPECT_EQ(CountAllowed(limiter, Source(1), kLimiterBegin + milliseconds(50), 100), 1);
  EXPECT_EQ(CountAllowed(limiter, Source(1), kLimiterBegin + milliseconds(200), 100), 3);
  // However long it was quiet, no more than the burst.
  EXPECT_EQ(CountAllowed(limiter, Source(1), kLimiterBegin + seconds(3600), 100), 5);
}

TEST(RateLimiterTest, SourcesAreCountedApartAndIpv6By64) {
  RateLimiter limiter({.per_second = 20, .burst = 5, .sources_max = 10});
  EXPECT_EQ(CountAllowed(limiter, Source(1), kLimiterBegin, 10), 5);
  EXPECT_EQ(CountAllowed(limiter, Source(2), kLimiterBegin, 10), 5);
  EXPECT_EQ(CountAllowed(limiter, *IpAddress::Parse("2001:db8::1"), kLimiterBegin, 10), 5);
  EXPECT_EQ(CountAllowed(limiter, *IpAddress::Parse("2001:db8::ffff:1"), kLimiterBegin, 10), 0);
  EXPECT_EQ(CountAllowed(limiter, *IpAddress::Parse("2001:db8:0:1::1"), kLimiterBegin, 10), 5);
}

TEST(RateLimiterTest, AFullTableRefusesNewSourcesUntilSomeAreQuiet) {
  RateLimiter limiter({.per_second = 20, .burst = 5, .sources_max = 100});
  for (uint32_t i = 0; i < 100; ++i) EXPECT_TRUE(limiter.Allow(Source(i), kLimiterBegin));
  EXPECT_FALSE(limiter.Allow(Source(1000), kLimiterBegin));
  EXPECT_EQ(limiter.sources(), 100u);
  EXPECT_TRUE(limiter.Allow(Source(5), kLimiterBegin)) << "known ones go on";
  EXPECT_TRUE(limiter.Allow(Source(1000), kLimiterBegin + seconds(2)));
  EXPECT_LT(limiter.sources(), 100u);
}

}  // namespace
}  // namespace im::tunnel
