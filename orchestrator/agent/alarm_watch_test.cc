#include "orchestrator/agent/alarm_watch.h"

#include <gtest/gtest.h>

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr uint64_t kAlarm = 1 << 13;
const Instant kAlarmStart{seconds(1000)};

TEST(AlarmWatchTest, ReadsSignals) {
  const auto state = ParseSignalState(
      "Name:\tcron\nUmask:\t0022\nSigQ:\t0/95000\nSigPnd:\t0000000000000001\n"
      "ShdPnd:\t0000000000002000\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001000\n"
      "SigCgt:\t0000000180002000\n");
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(state->name, "cron");
  EXPECT_EQ(state->pending, 0x2001u);
  EXPECT_EQ(state->handled, 0x180002000u);
  for (const char* text : {"", "SigCgt:\tx\n", "SigPnd:\tx\nSigCgt:\t0\n"})
    EXPECT_FALSE(ParseSignalState(text).has_value()) << text;
}

TEST(AlarmWatchTest, ReadsTimers) {
  EXPECT_EQ(ParseTimerSignals("ID: 0\nsignal: 14/000055d0c0000000\nnotify: signal/pid.7\n"
                              "ClockID: 0\nID: 1\nsignal: 32/0\nnotify: thread/tid.9\n"),
            kAlarm | 0x80000000u);
  EXPECT_EQ(ParseTimerSignals("signal: 0/0\nsignal: 65/0\nsignal: x/0\nsignal: -1\n"), 0u);
}

class AlarmTest : public testing::Test {
 protected:
  // Paused at `paused`; the alarm is seen pending at `at`. Whether it woke.
  bool Round(AlarmWatch& watch, Instant paused, Duration at, bool worked) {
    watch.OnPaused(paused, {{7, kAlarm, 0, "cron"}});
    if (watch.next_look() == kNever) return false;
    EXPECT_EQ(watch.OnLook(paused + at, {kAlarm}), "cron");
    watch.OnThawed(false);
    watch.OnJudged(worked);
    return true;
  }
  AlarmWatch watch_{{.tick_max = seconds(10)}};
};

TEST_F(AlarmTest, LooksAreFewerTheLongerThePauseLasts) {
  watch_.OnPaused(kAlarmStart, {{7, kAlarm, 0, "cron"}});
  EXPECT_EQ(watch_.next_look(), kAlarmStart + AlarmWatch::kLookMin);
  int looks = 0;
  Instant at = kAlarmStart;
  for (; at < kAlarmStart + minutes(10); ++looks) {
    const Duration late = watch_.next_look() - at;
    EXPECT_LE(late, std::max<Duration>(AlarmWatch::kLookMin, (at - kAlarmStart) / 16));
    EXPECT_LE(late, AlarmWatch::kLookMax);
    at = watch_.next_look();
    EXPECT_FALSE(watch_.OnLook(at, {0}).has_value());
  }
  EXPECT_LT(looks, 200);
}

TEST_F(AlarmTest, WithoutSuspectsNobodyLooks) {
  watch_.OnPaused(kAlarmStart, {});
  EXPECT_EQ(watch_.next_look(), kNever);
}

TEST_F(AlarmTest, OnlyWhatIsNewAndOfATimerCounts) {
  watch_.OnPaused(kAlarmStart, {{7, kAlarm, kAlarm, "cron"}, {8, kAlarm, 0, "other"}});
  EXPECT_FALSE(watch_.OnLook(kAlarmStart + seconds(1), {kAlarm, 1}).has_value());
  EXPECT_EQ(watch_.OnLook(kAlarmStart + seconds(2), {kAlarm, kAlarm}), "other");
}

TEST_F(AlarmTest, AJobThatWorksIsWokenAgainAndAgain) {
  for (int i = 0; i < 10; ++i)
    EXPECT_TRUE(Round(watch_, kAlarmStart + minutes(i), seconds(55), /*worked=*/true));
}

TEST_F(AlarmTest, TicksAreGivenUpUntilTheHostIsUsed) {
  EXPECT_TRUE(Round(watch_, kAlarmStart, milliseconds(300), true));
  EXPECT_TRUE(Round(watch_, kAlarmStart + seconds(1), milliseconds(300), true));
  EXPECT_FALSE(Round(watch_, kAlarmStart + seconds(2), milliseconds(300), true));
  watch_.OnThawed(/*used=*/true);
  EXPECT_TRUE(Round(watch_, kAlarmStart + seconds(3), milliseconds(300), true));
}

TEST_F(AlarmTest, FruitlessOnesAreGivenUpUnlessAllAreHonoured) {
  AlarmWatch all({.tick_max = seconds(10), .all = true});
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(Round(watch_, kAlarmStart + minutes(i), seconds(55), false), i < 2);
    EXPECT_TRUE(Round(all, kAlarmStart + minutes(i), seconds(55), false));
  }
}

}  // namespace
}  // namespace im::agent
