#include "netstack/cubic.h"

#include <gtest/gtest.h>

#include <cmath>

namespace im::netstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint32_t kSegmentBytes = 1000;

class CubicTest : public ::testing::Test {
 protected:
  // Acknowledges whole windows for `time`.
  void Grow(Duration time) {
    for (const Instant end = now_ + time; now_ < end; now_ += rtt_)
      for (int i = 0; i < 10; ++i)
        window_ = cubic_.OnAcknowledged(window_, window_ / 10, kSegmentBytes, rtt_, now_);
  }
  Instant now_ = Instant(seconds(1));
  Duration rtt_ = milliseconds(80);
  Cubic cubic_;
  uint32_t window_ = 1000 * kSegmentBytes;
};

TEST_F(CubicTest, ALossLeavesSevenTenths) {
  EXPECT_EQ(cubic_.OnLoss(window_, kSegmentBytes), 700 * kSegmentBytes);
  EXPECT_EQ(cubic_.OnLoss(2 * kSegmentBytes, kSegmentBytes), 2 * kSegmentBytes);
}

TEST_F(CubicTest, RegainsTheFormerWindowInItsTime) {
  window_ = cubic_.OnLoss(window_, kSegmentBytes);
  const double period_s = std::cbrt(300 / 0.4);  // 9.1 s
  Grow(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(period_s / 2)));
  EXPECT_GT(window_, 940 * kSegmentBytes);  // most of it in the first half
  Grow(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(period_s / 2)));
  EXPECT_NEAR(window_, 1000.0 * kSegmentBytes, 10.0 * kSegmentBytes);
  Grow(seconds(9));
  EXPECT_GT(window_, 1200 * kSegmentBytes);  // and then beyond
}

TEST_F(CubicTest, IsNoSlowerThanHalvingOnAShortPath) {
  rtt_ = milliseconds(1);
  window_ = cubic_.OnLoss(20 * kSegmentBytes, kSegmentBytes);
  Grow(milliseconds(12));
  // 14 segments, and 0.53 of one in each round trip.
  EXPECT_NEAR(window_, 20.3 * kSegmentBytes, 0.7 * kSegmentBytes);
}

TEST_F(CubicTest, APauseIsNoTimeToGrow) {
  window_ = cubic_.OnLoss(window_, kSegmentBytes);
  Grow(seconds(1));
  const uint32_t before = window_;
  now_ += seconds(3600);
  cubic_.OnIdle();
  window_ = cubic_.OnAcknowledged(window_, kSegmentBytes, kSegmentBytes, rtt_, now_);
  EXPECT_LT(window_, before + kSegmentBytes);
}

TEST_F(CubicTest, AWindowNeverMoreThanDoubles) {
  now_ += seconds(100'000);
  cubic_.OnAcknowledged(window_, kSegmentBytes, kSegmentBytes, rtt_, now_ - seconds(99'000));
  const uint32_t before = window_;
  window_ = cubic_.OnAcknowledged(window_, 0xffffffff, kSegmentBytes, rtt_, now_);
  EXPECT_LE(window_, 2 * before);
}

}  // namespace
}  // namespace im::netstack
