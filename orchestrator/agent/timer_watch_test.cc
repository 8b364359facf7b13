#include "orchestrator/agent/timer_watch.h"

#include <gtest/gtest.h>

#include <vector>

namespace im::agent {
namespace {

using Kind = TaskWait::Kind;
using Mode = TimerWatch::Mode;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

TimerSeen Asleep(int32_t task, uint64_t switches, Duration length) {
  return {.task = task, .parent = 1, .name = "task", .switches = switches,
          .kind = Kind::kRelative, .length = length};
}
TimerSeen Until(int32_t task, uint64_t switches, Duration left) {
  TimerSeen seen = Asleep(task, switches, left);
  seen.kind = Kind::kAbsolute;
  return seen;
}
TimerSeen Continued(int32_t task, uint64_t switches) {
  return {.task = task, .parent = 1, .name = "task", .switches = switches,
          .kind = Kind::kContinued};
}
TimerSeen Descriptor(int32_t fd, Duration left, Duration period = Duration(0)) {
  return {.task = 7, .fd = fd, .name = "task", .kind = Kind::kAbsolute, .length = left,
          .period = period};
}

class TimerWatchTest : public testing::Test {
 protected:
  void SetUp() override { watch_.OnAwake(At(0), true); }
  static Instant At(double s) {
    return Instant(seconds(1000)) + std::chrono::duration_cast<Duration>(
                                        std::chrono::duration<double>(s));
  }
  void Look(double at, std::vector<TimerSeen> seen, bool used = false) {
    watch_.OnLook(At(at), used, /*with_fds=*/true, seen);
  }
  // Seconds from the start; -1: none.
  double Next(double now) { return Seconds(watch_.Next(At(now))); }
  double Near(double now) { return Seconds(watch_.Near(At(now))); }
  static double Seconds(const std::optional<TimerWatch::Timer>& timer) {
    return timer ? std::chrono::duration<double>(timer->at - At(0)).count() : -1;
  }
  // Paused until `at`, when it is woken for its timer.
  void Wake(double at) {
    watch_.OnWake(At(at));
    watch_.OnAwake(At(at), false);
  }

  TimerWatch watch_{{.mode = Mode::kAuto, .tick_max = seconds(10), .horizon = seconds(1)}};
};

TEST_F(TimerWatchTest, ALengthCountsFromTheLastLookThatSawTheTaskElsewhere) {
  Look(1, {Asleep(1, 5, seconds(60))});
  EXPECT_DOUBLE_EQ(Next(1), 60) << "it may have begun at the start";
  Look(2, {Asleep(1, 6, seconds(60))});
  EXPECT_DOUBLE_EQ(Next(2), 61);
  Look(20, {Asleep(1, 6, seconds(60))});
  EXPECT_DOUBLE_EQ(Next(20), 61) << "the same wait";
}

TEST_F(TimerWatchTest, APointInTimeIsExact) {
  Look(1, {Until(1, 5, seconds(60))});
  EXPECT_DOUBLE_EQ(Next(1), 61);
  Look(3, {Until(1, 5, seconds(58))});
  EXPECT_DOUBLE_EQ(Next(3), 61);
}

TEST_F(TimerWatchTest, TheFirstOfAllCounts) {
  Look(1, {Until(1, 5, seconds(60)), Until(2, 5, seconds(40)), Descriptor(4, seconds(50))});
  EXPECT_DOUBLE_EQ(Next(1), 41);
  Look(2, {Until(1, 5, seconds(59)), Descriptor(4, seconds(49))});
  EXPECT_DOUBLE_EQ(Next(2), 51) << "the second task is gone";
}

TEST_F(TimerWatchTest, WhatWasNotLookedAtIsStillThere) {
  Look(1, {Descriptor(4, seconds(50))});
  watch_.OnLook(At(2), false, /*with_fds=*/false, {});
  EXPECT_DOUBLE_EQ(Next(2), 51);
  Look(3, {});
  EXPECT_DOUBLE_EQ(Next(3), -1);
}

TEST_F(TimerWatchTest, WhenNothingRanAWaitCannotHaveBegun) {
  Look(1, {Asleep(1, 5, seconds(60))});
  watch_.OnNothing(At(7));
  Look(8, {Asleep(1, 6, seconds(60))});
  EXPECT_DOUBLE_EQ(Next(8), 67);
}

TEST_F(TimerWatchTest, NearTimersAreNotWorthAPause) {
  Look(1, {Until(1, 5, milliseconds(900))});
  EXPECT_DOUBLE_EQ(Near(1), 1.9);
  Look(2, {Until(1, 6, milliseconds(1100))});
  EXPECT_DOUBLE_EQ(Near(2), -1);
  EXPECT_DOUBLE_EQ(Next(2), 3.1);
}

TEST_F(TimerWatchTest, TicksAreNotHonoured) {
  Look(1, {Asleep(1, 10, milliseconds(100))});
  EXPECT_DOUBLE_EQ(Near(1), 1) << "not known as one yet";
  Look(2, {Asleep(1, 20, milliseconds(100))});
  EXPECT_DOUBLE_EQ(Next(2), -1);
}

TEST_F(TimerWatchTest, ATickMustHaveComeBackTwice) {
  Look(1, {Asleep(1, 10, seconds(5))});
  Look(6, {Asleep(1, 11, seconds(5))});
  EXPECT_DOUBLE_EQ(Next(6), 6);
  Look(11, {Asleep(1, 12, seconds(5))});
  EXPECT_DOUBLE_EQ(Next(11), -1);
}

TEST_F(TimerWatchTest, WhatCameBackWhileTheHostWasUsedIsNoTick) {
  Look(1, {Asleep(1, 10, seconds(5))});
  Look(2, {Asleep(1, 99, seconds(5))}, /*used=*/true);
  EXPECT_DOUBLE_EQ(Next(2), 6);
}

TEST_F(TimerWatchTest, ATickingLoopMayHaveALongerTimer) {
  Look(1, {Asleep(1, 10, milliseconds(100))});
  Look(2, {Asleep(1, 20, milliseconds(100))});
  Look(3, {Asleep(1, 30, milliseconds(150))});
  EXPECT_DOUBLE_EQ(Next(3), -1);
  Look(4, {Asleep(1, 31, seconds(30))});
  EXPECT_DOUBLE_EQ(Next(4), 33);
  Look(5, {Asleep(1, 32, milliseconds(100))}, /*used=*/true);
  EXPECT_DOUBLE_EQ(Next(5), -1) << "it need not be learnt again after use";
}

TEST_F(TimerWatchTest, LongWaitsAreNoTicksHoweverOftenTheyComeBack) {
  for (uint64_t i = 0; i < 10; ++i) Look(1 + 60.0 * i, {Until(1, i, seconds(60))});
  EXPECT_DOUBLE_EQ(Next(541), 601);
}

TEST_F(TimerWatchTest, WithoutTicksAllAreTimers) {
  TimerWatch strict({.mode = Mode::kAuto, .tick_max = Duration(0), .horizon = seconds(1)});
  strict.OnAwake(At(0), true);
  for (uint64_t i = 1; i < 10; ++i) {
    const TimerSeen seen = Asleep(1, 10 * i, milliseconds(100));
    strict.OnLook(At(i), false, true, {&seen, 1});
  }
  EXPECT_TRUE(strict.Near(At(9)).has_value());
}

TEST_F(TimerWatchTest, APeriodicDescriptorIsATickByItself) {
  Look(1, {Descriptor(4, milliseconds(700), seconds(1))});
  EXPECT_DOUBLE_EQ(Next(1), -1);
  Look(2, {Descriptor(4, seconds(40), seconds(1))});
  EXPECT_DOUBLE_EQ(Next(2), 42) << "its first expiry is far";
  Look(3, {Descriptor(5, seconds(40), minutes(1))});
  EXPECT_DOUBLE_EQ(Next(3), 43);
}

TEST_F(TimerWatchTest, ADescriptorThatIsSetAgainAndAgainIsATick) {
  Look(1, {Descriptor(4, milliseconds(500))});
  EXPECT_DOUBLE_EQ(Near(1), 1.5);
  Look(1.3, {Descriptor(4, milliseconds(200))});
  EXPECT_DOUBLE_EQ(Near(1.3), 1.5);
  Look(2, {Descriptor(4, milliseconds(400))});
  Look(3, {Descriptor(4, milliseconds(300))});
  EXPECT_DOUBLE_EQ(Next(3), -1);
}

TEST_F(TimerWatchTest, ProcessesThatFollowOneAnotherAreOneSource) {
  Look(1, {Asleep(11, 3, seconds(1))});
  Look(2, {Asleep(12, 3, seconds(1))});
  EXPECT_DOUBLE_EQ(Near(2), 2);
  Look(3, {Asleep(13, 3, seconds(1))});
  EXPECT_DOUBLE_EQ(Next(3), -1);
  TimerSeen other = Asleep(14, 3, seconds(1));
  other.name = "other";
  Look(4, {other});
  EXPECT_DOUBLE_EQ(Near(4), 4);
}

TEST_F(TimerWatchTest, AWaitThatGoesOnAfterAPauseKeepsItsDeadline) {
  Look(1, {Asleep(1, 5, seconds(60))});
  Look(2, {Asleep(1, 6, seconds(60))});
  watch_.OnAwake(At(30), false);
  Look(31, {Continued(1, 8)});
  EXPECT_DOUBLE_EQ(Next(31), 61);
  watch_.OnAwake(At(40), false);
  Look(41, {Continued(1, 10)});
  EXPECT_DOUBLE_EQ(Next(41), 61);
  Look(70, {Asleep(1, 11, seconds(60))});
  EXPECT_DOUBLE_EQ(Next(70), 101);
}

TEST_F(TimerWatchTest, ACallThatGoesOnUnseenHasNoDeadline) {
  Look(1, {Continued(1, 8)});
  EXPECT_DOUBLE_EQ(Next(1), -1);
}

TEST_F(TimerWatchTest, SwitchesByAThawAreNoReturns) {
  Look(1, {Asleep(1, 5, seconds(5))});
  for (int i = 1; i < 5; ++i) {
    watch_.OnAwake(At(i), false);
    Look(i + 0.1, {Asleep(1, 5 + 10 * i, seconds(5))});
  }
  EXPECT_DOUBLE_EQ(Next(4.1), 9) << "an event loop that was interrupted waits anew";
}

TEST_F(TimerWatchTest, WokenTooEarlyItStaysNearUpToTheLatest) {
  Look(10, {Asleep(1, 5, seconds(60))});  // began between 0 and 10
  EXPECT_DOUBLE_EQ(Next(10), 60);
  Wake(60);
  Look(60.1, {Continued(1, 7)});
  EXPECT_DOUBLE_EQ(Near(60.1), 60.1);
  EXPECT_DOUBLE_EQ(Near(69.9), 69.9);
  EXPECT_DOUBLE_EQ(Near(71.1), -1) << "it should have come back: what was read was wrong";
}

TEST_F(TimerWatchTest, WhatIsDueAndHasNotRunYetIsNear) {
  Look(1, {Until(1, 5, seconds(2))});
  EXPECT_DOUBLE_EQ(Near(3.9), 3.9);
  EXPECT_DOUBLE_EQ(Near(4.1), -1);
  Look(10, {Until(2, 5, milliseconds(-100))});
  EXPECT_DOUBLE_EQ(Near(10), 10);
  Look(12, {Until(3, 5, milliseconds(-1100))});
  EXPECT_DOUBLE_EQ(Near(12), -1);
}

TEST_F(TimerWatchTest, FruitlessTimersAreGivenUp) {
  Look(0.1, {Until(1, 5, minutes(1))});
  double now = 0.1;
  for (uint64_t i = 1; i <= 2; ++i) {
    now += 60;
    EXPECT_NEAR(Next(now - 1), now, 0.001) << i;
    Wake(now);
    Look(now, {Until(1, 5 + i, minutes(1))});
    watch_.OnJudged(/*worked=*/false);
  }
  EXPECT_DOUBLE_EQ(Next(now), -1);
  Look(now + 1, {Until(1, 9, minutes(5))});
  EXPECT_NEAR(Next(now + 1), now + 301, 0.001) << "this one is longer";
  Look(now + 2, {Until(1, 10, minutes(1))}, /*used=*/true);
  EXPECT_NEAR(Next(now + 2), now + 62, 0.001) << "use begins the count anew";
}

TEST_F(TimerWatchTest, AThawForUseBeginsTheCountAnewToo) {
  Look(0.1, {Until(1, 5, minutes(1))});
  for (uint64_t i = 1; i <= 2; ++i) {
    Wake(0.1 + 60 * i);
    Look(0.1 + 60 * i, {Until(1, 5 + i, minutes(1))});
    watch_.OnJudged(/*worked=*/false);
  }
  EXPECT_DOUBLE_EQ(Next(121), -1);
  watch_.OnAwake(At(122), true);
  EXPECT_NEAR(Next(122), 180.1, 0.001);
}

TEST_F(TimerWatchTest, TimersThatLeadToSomethingAreKept) {
  Look(0.1, {Until(1, 5, minutes(1))});
  double now = 0.1;
  for (uint64_t i = 1; i <= 9; ++i) {
    now += 60;
    Wake(now);
    Look(now, {Until(1, 5 + i, minutes(1))});
    watch_.OnJudged(/*worked=*/i % 2 == 0);
  }
  EXPECT_NEAR(Next(now), now + 60, 0.001);
}

TEST_F(TimerWatchTest, OnlyWhatTheHostWasWokenForIsJudged) {
  Look(0.1, {Until(1, 5, minutes(1)), Until(2, 5, minutes(2))});
  double now = 0.1;
  for (uint64_t i = 1; i <= 5; ++i) {
    Wake(now + 60 * i);
    Look(now + 60 * i, {Until(1, 5 + i, minutes(1)), Continued(2, 5 + i)});
    watch_.OnJudged(false);
    if (i == 1) {
      EXPECT_NEAR(Next(now + 60), now + 120, 0.001);
    }
  }
}

TEST_F(TimerWatchTest, WithHonorNothingIsGivenUpAndWithIgnoreAll) {
  for (const Mode mode : {Mode::kHonor, Mode::kIgnore}) {
    TimerWatch watch({.mode = mode, .tick_max = seconds(10), .horizon = seconds(1)});
    watch.OnAwake(At(0), true);
    for (int i = 0; i < 5; ++i) {
      const TimerSeen seen = Until(1, i, minutes(1));
      watch.OnLook(At(60 * i), false, true, {&seen, 1});
      watch.OnJudged(false);
      watch.OnWake(At(60 * i + 60));
      watch.OnAwake(At(60 * i + 60), false);
    }
    EXPECT_EQ(watch.Next(At(240)).has_value(), mode == Mode::kHonor);
  }
}

TEST_F(TimerWatchTest, WhoAskedForAPauseMeansTicksToo) {
  Look(1, {Asleep(1, 10, milliseconds(500)), Asleep(2, 3, seconds(60))});
  const auto next = watch_.Next(At(1), seconds(10));
  ASSERT_TRUE(next.has_value());
  EXPECT_EQ(next->length, seconds(60));
}

}  // namespace
}  // namespace im::agent
