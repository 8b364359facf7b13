#include "base/counters.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace im {
namespace {

TEST(DropCountersTest, CountsEachReasonAlone) {
  DropCounters drops;
  drops.Add(DropReason::kReplayed);
  drops.Add(DropReason::kReplayed, 4);
  drops.Add(DropReason::kSpoofed);
  EXPECT_EQ(drops[DropReason::kReplayed], 5u);
  EXPECT_EQ(drops[DropReason::kSpoofed], 1u);
  EXPECT_EQ(drops[DropReason::kMalformed], 0u);
  EXPECT_EQ(drops.total(), 6u);
}

TEST(DropCountersTest, EveryReasonHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int i = 0; i < static_cast<int>(DropReason::kCount); ++i)
    names.insert(std::string(DropReasonName(static_cast<DropReason>(i))));
  EXPECT_EQ(names.size(), static_cast<size_t>(DropReason::kCount));
}

}  // namespace
}  // namespace im
