#include "bench/plan.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace im::bench {
namespace {

std::string Text(const std::vector<PlannedPart>& parts) {
  std::string text;
  for (const PlannedPart& part : parts)
    absl::StrAppend(&text, part.round, ":", part.scenario, "x", part.repeat, " ");
  return text;
}

TEST(PlanTest, EachRoundHasAPartOfEachScenario) {
  EXPECT_EQ(Text(PlanRounds({5, 100, 3}, 3)),
            "1:0x2 1:1x34 1:2x1 2:0x2 2:1x33 2:2x1 3:0x1 3:1x33 3:2x1 ");
}

TEST(PlanTest, OneRoundIsOneScenarioAfterTheOther) {
  EXPECT_EQ(Text(PlanRounds({5, 2}, 1)), "1:0x5 1:1x2 ");
}

TEST(PlanTest, FewRepetitionsDoNotBecomeMore) {
  EXPECT_EQ(Text(PlanRounds({1, 3}, 3)), "1:0x1 1:1x1 2:1x1 3:1x1 ");
}

}  // namespace
}  // namespace im::bench
