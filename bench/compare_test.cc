#include "bench/compare.h"

#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace im::bench {
namespace {

Report ReportOf(const std::string& unit, std::vector<double> values, const std::string& way = "im") {
  Report report;
  report.rows.push_back({"race", "speed", way, unit, Samples(std::move(values))});
  return report;
}

TEST(CompareTest, TheSameSamplesAreNeitherBetterNorWorse) {
  const Report report = ReportOf("Gb/s", {5, 6, 5.5, 5.2, 5.9});
  const auto result = Compare(report, report);
  ASSERT_EQ(result.size(), 1u);
  EXPECT_NEAR(result[0].before, 5.51, 0.01);
  EXPECT_EQ(result[0].ratio, 1);
  EXPECT_LT(result[0].low, 1);
  EXPECT_GT(result[0].high, 1);
  EXPECT_EQ(result[0].CertainLoss(), 0);
  EXPECT_EQ(result[0].CertainGain(), 0);
}

TEST(CompareTest, HalfTheRateIsALossAndHalfTheTimeAGain) {
  const std::vector<double> much = {10, 10.1, 9.9, 10, 10}, half = {5, 5.1, 4.9, 5, 5};
  const Comparison rate = Compare(ReportOf("Gb/s", much), ReportOf("Gb/s", half))[0];
  EXPECT_GT(rate.CertainLoss(), 0.45);
  EXPECT_LT(rate.CertainLoss(), 0.5);
  EXPECT_EQ(rate.CertainGain(), 0);
  EXPECT_LT(rate.ByChance(0.1), 1e-6);
  EXPECT_GT(rate.ByChance(0.6), 0.999);
  EXPECT_EQ(rate.ByChance(1), 1) << "no rate falls by more than all";
  const Comparison time = Compare(ReportOf("us", much), ReportOf("us", half))[0];
  EXPECT_GT(time.CertainGain(), 0.45);
  EXPECT_EQ(time.CertainLoss(), 0);
}

TEST(CompareTest, WhatVariesAsMuchAsItDiffersIsNotCertain) {
  const Comparison result =
      Compare(ReportOf("us", {10, 20, 12, 19, 11}), ReportOf("us", {12, 18, 21, 10, 16}))[0];
  EXPECT_TRUE(result.judged);
  EXPECT_EQ(result.CertainLoss(), 0);
}

TEST(CompareTest, TwoSamplesAreShownAndNotJudged) {
  const Comparison result = Compare(ReportOf("us", {1, 1}), ReportOf("us", {100, 100}))[0];
  EXPECT_EQ(result.ratio, 100);
  EXPECT_FALSE(result.judged);
  EXPECT_EQ(result.CertainLoss(), 0);
  EXPECT_EQ(result.ByChance(0.1), 1);
  EXPECT_NE(ToText({result}, 0.1).find("1 not judged"), std::string::npos);
}

TEST(CompareTest, OnlyWhatBothHaveInOneUnitIsCompared) {
  EXPECT_TRUE(Compare(ReportOf("us", {1}), ReportOf("us", {1}, "native")).empty());
  EXPECT_TRUE(Compare(ReportOf("us", {1}), ReportOf("ms", {1})).empty());
}

TEST(CompareTest, ALossBeyondTheBoundIsMarked) {
  const auto result = Compare(ReportOf("us", {10, 10, 10}), ReportOf("us", {12, 12, 12}));
  EXPECT_NE(ToText(result, 0.1).find("WORSE"), std::string::npos);
  EXPECT_NE(ToText(result, 0.3).find("  worse\n"), std::string::npos);
}

// Figures of which nothing has changed, some steady and some (p99.9) by far not.
std::vector<Comparison> Unchanged(std::mt19937& random) {
  constexpr int kFigures = 400;
  Report before, after;
  for (int i = 0; i < kFigures; ++i) {
    std::lognormal_distribution<double> value(3, 0.01 * (1 + i % 50));
    for (Report* report : {&before, &after}) {
      Row row{"race", std::to_string(i), "im", "us", {}};
      for (int j = 0; j < 5; ++j) row.samples.Add(value(random));
      report->rows.push_back(row);
    }
  }
  return Compare(before, after);
}

TEST(CompareTest, OfWhatDidNotChangeATwentiethSeemsToAndNothingIsBeyondTheBound) {
  constexpr int kTimes = 40;
  std::mt19937 random(1);
  int apart = 0, of = 0, alarms = 0;
  for (int i = 0; i < kTimes; ++i) {
    const Agreement result = Summarize(Unchanged(random), 0.1);
    apart += result.better + result.worse + result.beyond;
    of += result.the_same + result.better + result.worse + result.beyond;
    alarms += result.beyond > 0;
  }
  EXPECT_NEAR(static_cast<double>(apart) / of, 0.05, 0.01);
  EXPECT_LE(alarms, kTimes / 10);
}

TEST(CompareTest, OneThatIsWorseIsSeenAmongManyThatAreNot) {
  std::mt19937 random(1);
  Report before = ReportOf("Gb/s", {5, 5.1, 5.05, 4.95, 5.1});
  Report after = ReportOf("Gb/s", {3.5, 3.6, 3.55, 3.5, 3.45});
  std::vector<Comparison> comparisons = Unchanged(random);
  comparisons.push_back(Compare(before, after)[0]);
  EXPECT_EQ(Summarize(comparisons, 0.1).beyond, 1);
}

TEST(CompareTest, WhatWasZeroAndIsNotIsNotJudged) {
  EXPECT_FALSE(Compare(ReportOf("%", {0, 0, 0}), ReportOf("%", {0, 3, 4}))[0].judged);
}

TEST(CompareTest, SummarizesAndTellsHowMuchIsTheMachines) {
  const std::vector<double> much = {10, 10, 10}, more = {12, 12, 12}, half = {5, 5, 5};
  Report before, after;
  const auto add = [&](const std::string& way, const std::string& unit,
                       const std::vector<double>& was, const std::vector<double>& is) {
    before.rows.push_back({"race", "speed", way, unit, Samples(was)});
    after.rows.push_back({"race", "speed", way, unit, Samples(is)});
  };
  add("im tun-tun", "us", much, much);
  add("im tun-netstack", "us", much, half);
  add("embedded", "us", much, more);
  add("kernel TCP over im-tunnel", "Gb/s", much, half);
  add("veth, not encrypted", "us", much, more);
  add("wireguard-go", "Gb/s", more, much);  // as slow
  add("wireguard-go", "MB", much, half);
  add("pasta", "us", {10}, {50});
  const Agreement result = Summarize(Compare(before, after), 0.25);
  EXPECT_EQ(result.the_same, 1);
  EXPECT_EQ(result.better, 2);
  EXPECT_EQ(result.worse, 3);
  EXPECT_EQ(result.beyond, 1);
  EXPECT_EQ(result.not_judged, 1);
  EXPECT_EQ(result.of_others, 2);
  EXPECT_NEAR(result.others_slower, 1.2, 1e-9);
  EXPECT_NE(ToText(Compare(before, after), 0.25).find("took 1.20 times as long (the median of 2"),
            std::string::npos);
}

TEST(CompareTest, NothingBeforeAndNothingAfterIsTheSame) {
  EXPECT_EQ(Compare(ReportOf("KB", {0, 0, 0}), ReportOf("KB", {0, 0, 0}))[0].ratio, 1);
}

}  // namespace
}  // namespace im::bench
