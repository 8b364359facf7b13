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

TEST(DropCountersTest, OnlyReasonsThatWereMetAreVisited) {
  DropCounters drops;
  drops.Add(DropReason::kSpoofed, 2);
  drops.Add(DropReason::kMalformed);
  std::string seen;
  drops.ForEach([&](absl::string_view name, uint64_t count) {
    seen += std::string(name) + "=" + std::to_string(count) + " ";
  });
  EXPECT_EQ(seen, "malformed=1 spoofed=2 ");
}

TEST(DropCountersTest, EveryReasonHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int i = 0; i < static_cast<int>(DropReason::kCount); ++i)
    names.insert(std::string(DropReasonName(static_cast<DropReason>(i))));
  EXPECT_EQ(names.size(), static_cast<size_t>(DropReason::kCount));
}

}  // namespace
}  // namespace im
