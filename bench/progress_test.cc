#include "bench/progress.h"

#include "gtest/gtest.h"

namespace im::bench {
namespace {

using std::chrono::seconds;

TEST(ProgressTest, TheTimeLeftIsWhatWasExpectedUntilMoreIsKnown) {
  const Instant start{};
  Progress progress({{"a", 10}, {"b", 30}}, start);
  progress.Begin(0);
  EXPECT_DOUBLE_EQ(progress.SecondsLeft(start), 40);
  EXPECT_EQ(progress.Line(start), "[....................] 0 %  a, about 40 s left");
}

TEST(ProgressTest, AMachineThatIsHalfAsFastNeedsTwiceTheTime) {
  const Instant start{};
  Progress progress({{"a", 10}, {"b", 30}}, start);
  progress.Begin(0);
  progress.Set(1, "last");
  EXPECT_DOUBLE_EQ(progress.SecondsLeft(start + seconds(20)), 60);
  EXPECT_EQ(progress.Line(start + seconds(20)),
            "[#####...............] 25 %  a: last, about 60 s left");
}

TEST(ProgressTest, APartThatEndedEarlyIsOver) {
  const Instant start{};
  Progress progress({{"a", 10}, {"b", 30}}, start);
  progress.Begin(0);
  progress.Set(0.1, "");
  progress.Begin(1);
  EXPECT_DOUBLE_EQ(progress.share(), 0.25);
  progress.Set(2, "beyond the end");
  EXPECT_DOUBLE_EQ(progress.share(), 1);
  EXPECT_DOUBLE_EQ(progress.SecondsLeft(start + seconds(1)), 0);
}

TEST(ProgressTest, LongTimesAreToldInMinutes) {
  Progress progress({{"a", 600}}, Instant{});
  progress.Begin(0);
  EXPECT_EQ(progress.Line(Instant{}), "[....................] 0 %  a, about 10 min left");
}

}  // namespace
}  // namespace im::bench
