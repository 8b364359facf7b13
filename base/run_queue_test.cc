#include "base/run_queue.h"

#include <fstream>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace im {
namespace {

class RunQueueTest : public testing::Test {
 protected:
  void Write(const std::string& text) { std::ofstream(path_, std::ios::trunc) << text; }
  void WriteRunning(int tasks) { Write(absl::StrCat("0.20 0.18 0.12 ", tasks, "/80 11206\n")); }
  // After so many looks.
  bool IsCrowded(RunQueue& queue, int looks) {
    bool crowded = false;
    for (int i = 0; i < looks; ++i) {
      now_ += RunQueue::kInterval;
      crowded = queue.IsCrowded(now_);
    }
    return crowded;
  }

  const std::string path_ = testing::TempDir() + "/loadavg";
  Instant now_{std::chrono::hours(1)};
};

TEST_F(RunQueueTest, ManyTasksForFewProcessorsAreACrowdUntilTheyLeave) {
  WriteRunning(2);
  RunQueue queue(path_, /*processors=*/2);
  EXPECT_FALSE(IsCrowded(queue, 100));
  WriteRunning(8);
  EXPECT_TRUE(IsCrowded(queue, 8));
  WriteRunning(2);
  EXPECT_TRUE(IsCrowded(queue, 1)) << "one look says little";
  EXPECT_FALSE(IsCrowded(queue, 32));
}

TEST_F(RunQueueTest, TheSameTasksAreNoneForManyProcessors) {
  WriteRunning(8);
  RunQueue queue(path_, /*processors=*/8);
  EXPECT_FALSE(IsCrowded(queue, 100));
}

TEST_F(RunQueueTest, ItIsNotLookedAtMoreOftenThanTheInterval) {
  WriteRunning(2);
  RunQueue queue(path_, /*processors=*/2);
  EXPECT_FALSE(IsCrowded(queue, 1));
  WriteRunning(1'000);
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(queue.IsCrowded(now_ + RunQueue::kInterval / 2));
  EXPECT_TRUE(IsCrowded(queue, 1));
}

TEST_F(RunQueueTest, WhatCannotBeReadIsNoCrowd) {
  RunQueue missing("/nowhere/loadavg", 1);
  EXPECT_FALSE(IsCrowded(missing, 100));
  for (const char* text : {"", "0.20", "0.20 0.18 0.12 x/80 1", "\n\n\n\n\n", "0.20 0.18 0.12 -7/80 1"}) {
    Write(text);
    RunQueue queue(path_, 1);
    EXPECT_FALSE(IsCrowded(queue, 100)) << text;
  }
}

TEST_F(RunQueueTest, TheMachinesOwnIsNoCrowdForAMillionProcessors) {
  RunQueue queue("/proc/loadavg", 1'000'000);
  EXPECT_FALSE(IsCrowded(queue, 100));
}

}  // namespace
}  // namespace im
