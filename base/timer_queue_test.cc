#include "base/timer_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "base/random.h"

namespace im {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

Instant At(int ms) { return Instant(milliseconds(ms)); }

TEST(TimerQueueTest, RunsWhatIsDueEarliestFirst) {
  TimerQueue timers;
  std::vector<int> ran;
  timers.Add(At(30), [&] { ran.push_back(30); });
  timers.Add(At(10), [&] { ran.push_back(10); });
  timers.Add(At(20), [&] { ran.push_back(20); });
  timers.RunDue(At(9));
  EXPECT_THAT(ran, ElementsAre());
  timers.RunDue(At(20));  // due at its very instant
  EXPECT_THAT(ran, ElementsAre(10, 20));
  EXPECT_EQ(timers.NextDeadline(), At(30));
  timers.RunDue(At(1000));
  EXPECT_THAT(ran, ElementsAre(10, 20, 30));
  EXPECT_EQ(timers.NextDeadline(), kNever);
  EXPECT_EQ(timers.size(), 0u);
}

TEST(TimerQueueTest, TiesRunInOrderOfAdd) {
  TimerQueue timers;
  std::vector<int> ran;
  for (int i = 0; i < 100; ++i) timers.Add(At(5), [&ran, i] { ran.push_back(i); });
  timers.RunDue(At(5));
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
  EXPECT_EQ(ran.size(), 100u);
}

TEST(TimerQueueTest, ACancelledTimerDoesNotRun) {
  TimerQueue timers;
  const auto id = timers.Add(At(1), [] { FAIL(); });
  EXPECT_TRUE(timers.Cancel(id));
  EXPECT_FALSE(timers.Cancel(id));
  EXPECT_EQ(timers.NextDeadline(), kNever);
  timers.RunDue(At(2));
}

TEST(TimerQueueTest, CancelAfterFiringSaysSo) {
  TimerQueue timers;
  const auto id = timers.Add(At(1), [] {});
  timers.RunDue(At(1));
  EXPECT_FALSE(timers.Cancel(id));
}

TEST(TimerQueueTest, ACallbackCancelsAnotherThatIsDueAtTheSameTime) {
  TimerQueue timers;
  TimerQueue::Id second = 0;
  bool cancelled = false;
  timers.Add(At(1), [&] { cancelled = timers.Cancel(second); });
  second = timers.Add(At(1), [] { FAIL(); });
  timers.RunDue(At(1));
  EXPECT_TRUE(cancelled);
}

TEST(TimerQueueTest, ACallbackCannotCancelItself) {
  TimerQueue timers;
  TimerQueue::Id self = 0;
  bool ran = false;
  self = timers.Add(At(1), [&] {
    ran = true;
    EXPECT_FALSE(timers.Cancel(self));
  });
  timers.RunDue(At(1));
  EXPECT_TRUE(ran);
}

TEST(TimerQueueTest, WhatACallbackAddsWaitsForTheNextCallEvenIfDue) {
  TimerQueue timers;
  int runs = 0;
  std::function<void()> again = [&] {
    ++runs;
    timers.Add(At(0), again);
  };
  timers.Add(At(0), again);
  timers.RunDue(At(1));
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(timers.NextDeadline(), At(0));
  timers.RunDue(At(1));
  EXPECT_EQ(runs, 2);
}

TEST(TimerQueueTest, CancellingMostLeavesTheRestInOrder) {
  TimerQueue timers;
  std::vector<int> ran;
  std::vector<TimerQueue::Id> ids;
  for (int i = 999; i >= 0; --i) ids.push_back(timers.Add(At(i), [&ran, i] { ran.push_back(i); }));
  for (size_t i = 0; i < ids.size(); ++i)
    EXPECT_TRUE(i % 10 == 0 || timers.Cancel(ids[i]));
  EXPECT_EQ(timers.size(), 100u);
  timers.RunDue(At(1000));
  EXPECT_EQ(ran.size(), 100u);
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
}

TEST(TimerQueueTest, TheFunctionDiesWithItsTimer) {
  TimerQueue timers;
  auto token = std::make_shared<int>(1);
  const auto id = timers.Add(At(1), [token] {});
  EXPECT_EQ(token.use_count(), 2);
  timers.Cancel(id);
  EXPECT_EQ(token.use_count(), 1);
  timers.Add(At(1), [token] {});
  timers.RunDue(At(1));
  EXPECT_EQ(token.use_count(), 1);
}

// A callback may own what cancels other timers as it dies.
struct CancelsOnDeath {
  TimerQueue* timers;
  TimerQueue::Id id;
  ~CancelsOnDeath() { timers->Cancel(id); }
};

TEST(TimerQueueTest, CallbacksThatCancelAsTheyDieAreSafe) {
  TimerQueue timers;
  for (int i = 0; i < 50; ++i) {
    const auto victim = timers.Add(At(i), [] {});
    auto owner = std::make_shared<CancelsOnDeath>(CancelsOnDeath{&timers, victim});
    timers.Add(At(i), [owner] {});
  }
  timers.RunDue(At(10));
  // The rest die with the queue.
}

TEST(TimerQueueTest, AgreesWithASimpleModelUnderRandomUse) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    SeededRandom random(seed);
    TimerQueue timers;
    std::map<std::pair<Instant, TimerQueue::Id>, bool> model;  // live timers
    std::vector<TimerQueue::Id> ran;
    std::vector<std::pair<Instant, TimerQueue::Id>> all;
    int now = 0;
    for (int step = 0; step < 2000; ++step) {
      switch (random.Below(4)) {
        case 0:
        case 1: {
          const Instant deadline = At(now + static_cast<int>(random.Below(50)));
          auto id = std::make_shared<TimerQueue::Id>(0);
          *id = timers.Add(deadline, [&ran, id] { ran.push_back(*id); });
          model[{deadline, *id}] = true;
          all.push_back({deadline, *id});
          break;
        }
        case 2: {
          if (all.empty()) break;
          const auto& victim = all[random.Below(all.size())];
          ASSERT_EQ(timers.Cancel(victim.second), model.erase(victim) == 1);
          break;
        }
        case 3: {
          now += static_cast<int>(random.Below(10));
          std::vector<TimerQueue::Id> expected;
          while (!model.empty() && model.begin()->first.first <= At(now)) {
            expected.push_back(model.begin()->first.second);
            model.erase(model.begin());
          }
          ran.clear();
          timers.RunDue(At(now));
          ASSERT_EQ(ran, expected);
          break;
        }
      }
      ASSERT_EQ(timers.size(), model.size());
      ASSERT_EQ(timers.NextDeadline(), model.empty() ? kNever : model.begin()->first.first);
    }
  }
}

}  // namespace
}  // namespace im
