#include "bench/samples.h"

#include "gtest/gtest.h"

namespace im::bench {
namespace {

TEST(SamplesTest, OneSampleIsItsOwnMedianAndBounds) {
  Samples s;
  s.Add(7);
  EXPECT_EQ(s.Median(), 7);
  EXPECT_EQ(s.Min(), 7);
  EXPECT_EQ(s.Max(), 7);
}

TEST(SamplesTest, MedianOfAnEvenNumberLiesBetweenTheMiddleTwo) {
  Samples s;
  for (double v : {9.0, 1.0, 3.0, 5.0}) s.Add(v);
  EXPECT_EQ(s.Median(), 4);
  EXPECT_EQ(s.Min(), 1);
  EXPECT_EQ(s.Max(), 9);
}

TEST(SamplesTest, PercentilesAreLinearBetweenNeighbours) {
  Samples s;
  for (int i = 0; i <= 100; ++i) s.Add(i);
  EXPECT_DOUBLE_EQ(s.Percentile(99), 99);
  EXPECT_DOUBLE_EQ(s.Percentile(99.5), 99.5);
}

TEST(TableTest, RowsStayInTheOrderOfTheirFirstSample) {
  Table table("race");
  table.Add("speed", "hare", "m/s", 20);
  table.Add("speed", "tortoise", "m/s", 0.1);
  table.Add("speed", "hare", "m/s", 0);
  const std::vector<Row> rows = table.Take();
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].scenario, "race");
  EXPECT_EQ(rows[0].what, "speed");
  EXPECT_EQ(rows[0].way, "hare");
  EXPECT_EQ(rows[0].samples.count(), 2u);
  EXPECT_EQ(rows[0].samples.Median(), 10);
  EXPECT_EQ(rows[1].way, "tortoise");
}

}  // namespace
}  // namespace im::bench
