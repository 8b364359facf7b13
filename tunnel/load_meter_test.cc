#include "tunnel/load_meter.h"

#include <gtest/gtest.h>

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kPerSecond = 1000;
const Instant kStart = Instant() + seconds(100);

TEST(LoadMeterTest, AsManyAsASecondMayHaveAreNoLoad) {
  LoadMeter meter(kPerSecond);
  for (int second = 0; second < 3; ++second) {
    for (int i = 0; i < kPerSecond; ++i) EXPECT_FALSE(meter.Count(kStart + seconds(second)));
  }
  EXPECT_TRUE(meter.Count(kStart + seconds(2)));
  EXPECT_TRUE(meter.loaded(kStart + seconds(4) - milliseconds(1)));
  EXPECT_FALSE(meter.loaded(kStart + seconds(4)));
}

TEST(LoadMeterTest, ABurstOfWorthlessOnesIsLoad) {
  LoadMeter meter(kPerSecond);
  for (int i = 0; i < kWastedHandshakesBurst; ++i) meter.CountWasted(kStart);
  EXPECT_FALSE(meter.loaded(kStart));
  meter.CountWasted(kStart);
  EXPECT_TRUE(meter.loaded(kStart));
  EXPECT_FALSE(meter.loaded(kStart + kUnderLoadHold));
}

TEST(LoadMeterTest, WorthlessOnesAtTheRateThatWeWantToAnswerAreNoLoad) {
  LoadMeter meter(kPerSecond);
  for (int i = 0; i < 10 * kPerSecond; ++i) meter.CountWasted(kStart + milliseconds(i));
  EXPECT_FALSE(meter.loaded(kStart + seconds(10)));
  // Twice the rate is, after as many too many as may come at once.
  const Instant from = kStart + seconds(20);
  int count = 0;
  for (; !meter.loaded(from + milliseconds(count / 2)); ++count) {
    ASSERT_LT(count, 3 * kWastedHandshakesBurst);
    meter.CountWasted(from + milliseconds(count / 2));
  }
  EXPECT_GE(count, kWastedHandshakesBurst);
}

TEST(LoadMeterTest, TheLongerReasonHolds) {
  LoadMeter meter(kPerSecond);
  for (int i = 0; i <= kPerSecond; ++i) meter.Count(kStart);
  for (int i = 0; i <= kWastedHandshakesBurst; ++i) meter.CountWasted(kStart);
  EXPECT_TRUE(meter.loaded(kStart + seconds(1) + kUnderLoadHold - milliseconds(1)));
}

}  // namespace
}  // namespace im::tunnel
