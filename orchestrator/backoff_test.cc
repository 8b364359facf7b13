#include "orchestrator/backoff.h"

#include <gtest/gtest.h>

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
const Instant kBackoffStart{seconds(100)};

TEST(Backoff, TheFirstFailureCostsNothingThenItDoubles) {
  const Backoff::Limits limits{.first = milliseconds(500), .max = seconds(3)};
  Backoff backoff;
  EXPECT_FALSE(backoff.waiting(kBackoffStart));
  const Duration expected[] = {Duration(0), milliseconds(500), seconds(1), seconds(2),
                               seconds(3),  seconds(3),        seconds(3)};
  for (const Duration wait : expected) {
    backoff.Fail(limits, "boom", kBackoffStart);
    EXPECT_EQ(backoff.retry_at() - kBackoffStart, wait) << backoff.failures();
    EXPECT_EQ(backoff.waiting(kBackoffStart), wait > Duration(0));
    EXPECT_FALSE(backoff.waiting(kBackoffStart + wait));
  }
}

TEST(Backoff, ManyFailuresDoNotOverflow) {
  Backoff backoff;
  const Backoff::Limits limits;
  for (int i = 0; i < 10'000; ++i) backoff.Fail(limits, "boom", kBackoffStart);
  EXPECT_EQ(backoff.retry_at() - kBackoffStart, limits.max);
}

TEST(Backoff, SaysHowLongAndWhy) {
  Backoff backoff;
  for (int i = 0; i < 4; ++i) backoff.Fail({}, "exec nginxx: No such file or directory", kBackoffStart);
  EXPECT_EQ(backoff.Reason(kBackoffStart),
            "backing off 2s after 4 failures: exec nginxx: No such file or directory");
  EXPECT_EQ(backoff.Reason(kBackoffStart + milliseconds(300)).substr(0, 17), "backing off 1.7s ");
  backoff.EndWait(kBackoffStart);
  EXPECT_FALSE(backoff.waiting(kBackoffStart));
  EXPECT_EQ(backoff.failures(), 4u);
  backoff.Reset();
  EXPECT_EQ(backoff.failures(), 0u);
}

TEST(DurationText, IsShort) {
  EXPECT_EQ(DurationText(seconds(30)), "30s");
  EXPECT_EQ(DurationText(milliseconds(3210)), "3.2s");
  EXPECT_EQ(DurationText(std::chrono::minutes(10)), "10m");
  EXPECT_EQ(DurationText(std::chrono::hours(2)), "2h");
  EXPECT_EQ(DurationText(seconds(90)), "1m30s");
  EXPECT_EQ(DurationText(milliseconds(512)), "512ms");
  EXPECT_EQ(DurationText(std::chrono::microseconds(4230)), "4.2ms");
  EXPECT_EQ(DurationText(std::chrono::nanoseconds(310'456)), "310us");
  EXPECT_EQ(DurationText(Duration(0)), "0");
}

}  // namespace
}  // namespace im::orchestrator
