#include "orchestrator/histogram.h"

#include <gtest/gtest.h>

#include <chrono>

namespace im::orchestrator {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(Histogram, BoundsGoFromAThawToALongStart) {
  const auto& bounds = Histogram::Bounds();
  EXPECT_EQ(bounds.front(), microseconds(10));
  EXPECT_EQ(bounds[4], microseconds(200));
  EXPECT_EQ(bounds.back(), seconds(50));
}

TEST(Histogram, ABoundBelongsToItsOwnBucket) {
  Histogram histogram;
  histogram.Add(microseconds(10));
  EXPECT_EQ(histogram.CountUpTo(0), 1u);
  histogram.Add(microseconds(10) + Duration(1));
  EXPECT_EQ(histogram.CountUpTo(0), 1u);
  EXPECT_EQ(histogram.CountUpTo(1), 2u);
}

TEST(Histogram, WhatIsTooLongOrNegativeIsCountedToo) {
  Histogram histogram;
  histogram.Add(seconds(51));
  histogram.Add(milliseconds(-1));
  EXPECT_EQ(histogram.CountUpTo(0), 1u);
  EXPECT_EQ(histogram.CountUpTo(Histogram::kBounds - 1), 1u);
  EXPECT_EQ(histogram.CountUpTo(Histogram::kBounds), 2u);
  EXPECT_EQ(histogram.count(), 2u);
  EXPECT_EQ(histogram.sum(), seconds(51));
}

}  // namespace
}  // namespace im::orchestrator
