#include "orchestrator/agent/frozen_rests.h"

#include <time.h>
#include <unistd.h>

#include "gtest/gtest.h"

namespace im::agent {
namespace {

FrozenRest RestAt(const timespec& time, Duration whole) {
  FrozenRest rest;
  rest.process = rest.task = getpid();
  rest.address = reinterpret_cast<uint64_t>(&time);
  rest.whole = whole;
  return rest;
}

TEST(FrozenRestsTest, WhatWasNotInterruptedInTimeIsNotShortened) {
  const timespec untouched{60, 0}, interrupted{42, 5};
  std::vector<FrozenRest> rests = {RestAt(untouched, std::chrono::seconds(60)),
                                   RestAt(interrupted, std::chrono::seconds(60))};
  AwaitInterruption(rests, RealClock());
  ASSERT_EQ(rests.size(), 1u);
  EXPECT_EQ(rests[0].address, reinterpret_cast<uint64_t>(&interrupted));
}

}  // namespace
}  // namespace im::agent
