#include "orchestrator/agent/idle_detector.h"

#include <gtest/gtest.h>

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class IdleDetectorTest : public testing::Test, public IdleDetector::Delegate {
 protected:
  IdleEvidence LookAtProcesses(Look) override {
    ++looks_;
    evidence_.cpu = cpu_per_second_ * (now_ - start_).count() / 1'000'000'000;
    return evidence_;
  }
  std::string LookAtTimers() override {
    ++timer_looks_;
    return timer_;
  }
  void OnIdle() override {
    idle_at_ = now_;
    ++idles_;
  }

  // Lets the time pass, with the calls that a loop would make.
  void Run(IdleDetector& detector, Instant until) {
    while (detector.NextDeadline() <= until) {
      now_ = std::max(now_, detector.NextDeadline());
      const Instant before = detector.NextDeadline();
      detector.OnTimer(now_);
      ASSERT_GT(detector.NextDeadline(), before) << "a timer that does not move";
    }
    now_ = until;
  }
  Instant At(Duration after_start) const { return start_ + after_start; }

  const Instant start_ = Instant(seconds(1000));
  Instant now_ = start_;
  Duration cpu_per_second_{0};
  IdleEvidence evidence_;
  std::string timer_;
  int looks_ = 0;
  int timer_looks_ = 0;
  int idles_ = 0;
  Instant idle_at_;
  IdleDetector detector_{{.after = seconds(8)}, *this};
};

TEST_F(IdleDetectorTest, IdleWhenNothingHappens) {
  detector_.OnAwake(start_);
  Run(detector_, At(seconds(100)));
  EXPECT_EQ(idles_, 1);
  EXPECT_EQ(idle_at_, At(seconds(8)));
  EXPECT_EQ(looks_, 2);
  EXPECT_EQ(detector_.NextDeadline(), kNever);
}

TEST_F(IdleDetectorTest, UseMovesTheDeadlineWithoutALook) {
  detector_.OnAwake(start_);
  for (int i = 1; i <= 100; ++i) {
    Run(detector_, At(seconds(i)));
    detector_.OnUse(now_);
  }
  EXPECT_EQ(looks_, 0);
  EXPECT_EQ(detector_.Busy(now_ + milliseconds(300)), "payload 0.3s ago");
  EXPECT_EQ(detector_.PauseIn(now_), seconds(8));
  Run(detector_, At(seconds(200)));
  EXPECT_EQ(idle_at_, At(seconds(108)));
}

TEST_F(IdleDetectorTest, AMomentPutsThePauseOffForAnother) {
  detector_.OnAwake(start_);
  Run(detector_, At(milliseconds(7'950)));
  detector_.OnMoment(now_);
  Run(detector_, At(seconds(100)));
  EXPECT_EQ(idles_, 1);
  EXPECT_EQ(idle_at_, At(milliseconds(8'050)));
  // It slept for 10 s, and sleeps on.
  detector_.OnAsleep(idle_at_);
  detector_.OnMoment(now_);
  detector_.OnAwakeBriefly(now_);
  Run(detector_, At(seconds(200)));
  EXPECT_EQ(idles_, 2);
  EXPECT_EQ(idle_at_, At(milliseconds(100'100)));
  detector_.OnAsleep(idle_at_);
  EXPECT_EQ(detector_.asleep_since(), At(milliseconds(8'050)));
}

TEST_F(IdleDetectorTest, UseBetweenTheTwoLooksBeginsAnew) {
  detector_.OnAwake(start_);
  Run(detector_, At(milliseconds(7500)));
  EXPECT_EQ(looks_, 1);
  detector_.OnUse(now_);
  Run(detector_, At(seconds(15)));
  EXPECT_EQ(idles_, 0);
  Run(detector_, At(seconds(16)));
  EXPECT_EQ(idle_at_, At(milliseconds(15500)));
}

TEST_F(IdleDetectorTest, CpuTimeKeepsUp) {
  cpu_per_second_ = milliseconds(120);
  detector_.OnAwake(start_);
  Run(detector_, At(seconds(30)));
  EXPECT_EQ(idles_, 0);
  EXPECT_EQ(detector_.Busy(now_), "cpu 12.0%");
  EXPECT_LE(looks_, 30) << "not more than one look a span";
  cpu_per_second_ = Duration(0);
  Run(detector_, At(seconds(33)));
  EXPECT_EQ(idles_, 1);
}

TEST_F(IdleDetectorTest, LittleCpuTimeDoesNot) {
  cpu_per_second_ = milliseconds(19);
  detector_.OnAwake(start_);
  Run(detector_, At(seconds(8)));
  EXPECT_EQ(idles_, 1);
}

TEST_F(IdleDetectorTest, RunningAndWaitingTasksKeepUp) {
  detector_.OnAwake(start_);
  evidence_.tasks_running = 1;
  evidence_.task = "java";
  Run(detector_, At(seconds(20)));
  EXPECT_EQ(detector_.Busy(now_), "running: java");
  evidence_.tasks_running = 0;
  evidence_.tasks_in_disk_wait = 2;
  Run(detector_, At(seconds(30)));
  EXPECT_EQ(detector_.Busy(now_), "disk wait: java");
  evidence_.tasks_in_disk_wait = 0;
  evidence_.busy_file = true;
  Run(detector_, At(seconds(40)));
  EXPECT_EQ(detector_.Busy(now_), "busy file");
  EXPECT_EQ(idles_, 0);
  evidence_.busy_file = false;
  Run(detector_, At(seconds(42)));
  EXPECT_EQ(idles_, 1);
}

TEST_F(IdleDetectorTest, ExecSessionsAndHeldPacketsStopTheCount) {
  detector_.OnAwake(start_);
  detector_.SetExecSessions(1, At(seconds(1)));
  Run(detector_, At(seconds(50)));
  EXPECT_EQ(detector_.Busy(now_), "exec session");
  EXPECT_FALSE(detector_.PauseIn(now_).has_value());
  detector_.SetExecSessions(0, now_);
  detector_.SetHeldPackets(3, now_);
  Run(detector_, At(seconds(100)));
  EXPECT_EQ(detector_.Busy(now_), "3 held packets");
  EXPECT_EQ(looks_, 0);
  detector_.SetHeldPackets(0, now_);
  Run(detector_, At(seconds(120)));
  EXPECT_EQ(idle_at_, At(seconds(108)));
}

TEST_F(IdleDetectorTest, OpenConnectionsCountOnlyWhereAskedFor) {
  evidence_.connections = 2;
  detector_.OnAwake(start_);
  Run(detector_, At(seconds(10)));
  EXPECT_EQ(idles_, 1);
  IdleDetector strict({.mode = IdleDetector::Mode::kNoConnections, .after = seconds(8)}, *this);
  strict.OnAwake(now_);
  Run(strict, At(seconds(60)));
  EXPECT_EQ(strict.Busy(now_), "2 connections");
  EXPECT_EQ(idles_, 1);
  evidence_.connections = 0;
  Run(strict, At(seconds(62)));
  EXPECT_EQ(idles_, 2);
}

TEST_F(IdleDetectorTest, NeverMeansNever) {
  IdleDetector never({.mode = IdleDetector::Mode::kNever, .after = seconds(1)}, *this);
  never.OnAwake(start_);
  EXPECT_EQ(never.NextDeadline(), kNever);
  EXPECT_EQ(never.Busy(start_), "idle mode never");
}

TEST_F(IdleDetectorTest, AThawBeginsAnew) {
  detector_.OnAwake(start_);
  Run(detector_, At(seconds(8)));
  EXPECT_EQ(idles_, 1);
  detector_.OnAsleep(now_);
  Run(detector_, At(seconds(50)));
  detector_.OnAwake(now_);
  EXPECT_EQ(detector_.Busy(now_ + seconds(2)), "awake for 2.0s");
  Run(detector_, At(seconds(60)));
  EXPECT_EQ(idle_at_, At(seconds(58)));
  EXPECT_EQ(looks_, 4);
}

TEST_F(IdleDetectorTest, ATimerThatIsNearKeepsUp) {
  detector_.OnAwake(start_);
  evidence_.busy_file = true;
  Run(detector_, At(milliseconds(8500)));
  EXPECT_EQ(timer_looks_, 0) << "of no interest";
  evidence_.busy_file = false;
  timer_ = "timer of sleep in 0.3s";
  Run(detector_, At(seconds(11)));
  EXPECT_EQ(detector_.Busy(now_), "timer of sleep in 0.3s");
  EXPECT_EQ(idles_, 0);
  timer_.clear();
  Run(detector_, At(seconds(12)));
  EXPECT_EQ(idles_, 1);
}

TEST_F(IdleDetectorTest, ABriefWakeNeedsNoLongQuiet) {
  detector_.OnAwake(start_);
  Run(detector_, At(seconds(8)));
  detector_.OnAsleep(now_);
  Run(detector_, At(seconds(50)));
  detector_.OnAwakeBriefly(now_);
  Run(detector_, At(seconds(60)));
  EXPECT_EQ(idle_at_, At(seconds(50)) + IdleDetector::kSettleSpan);
  EXPECT_EQ(idles_, 2);
}

TEST_F(IdleDetectorTest, ABriefWakeLastsWhileThereIsWork) {
  detector_.OnAwake(start_);
  Run(detector_, At(seconds(8)));
  detector_.OnAsleep(now_);
  detector_.OnAwakeBriefly(now_);
  cpu_per_second_ = milliseconds(500);
  Run(detector_, At(seconds(12)));
  EXPECT_EQ(idles_, 1);
  EXPECT_EQ(detector_.Busy(now_), "cpu 50.0%");
  cpu_per_second_ = Duration(0);
  evidence_.cpu = Duration(0);
  Run(detector_, At(seconds(13)));
  EXPECT_EQ(idles_, 2);
}

TEST_F(IdleDetectorTest, UseInABriefWakeBeginsAnew) {
  detector_.OnAwake(start_);
  Run(detector_, At(seconds(8)));
  detector_.OnAsleep(now_);
  Run(detector_, At(seconds(20)));
  detector_.OnAwakeBriefly(now_);
  EXPECT_FALSE(detector_.UsedSince(now_));
  Run(detector_, At(milliseconds(20'050)));
  detector_.OnUse(now_);
  EXPECT_TRUE(detector_.UsedSince(At(seconds(20))));
  Run(detector_, At(seconds(28)));
  EXPECT_EQ(idles_, 1);
  Run(detector_, At(seconds(30)));
  EXPECT_EQ(idle_at_, At(milliseconds(28'050)));
}

TEST_F(IdleDetectorTest, AfterAPauseThatWasAskedForABriefWakeIsBriefToo) {
  detector_.OnAwake(start_);
  Run(detector_, At(seconds(1)));
  detector_.OnAsleep(now_);
  Run(detector_, At(seconds(2)));
  detector_.OnAwakeBriefly(now_);
  Run(detector_, At(seconds(3)));
  EXPECT_EQ(idle_at_, At(seconds(2)) + IdleDetector::kSettleSpan);
}

TEST_F(IdleDetectorTest, MomentsThatAreNoUseAreSlept) {
  detector_.OnAwake(start_);
  Run(detector_, At(seconds(8)));
  detector_.OnAsleep(now_);
  Run(detector_, At(seconds(20)));
  detector_.OnAwakeBriefly(now_);
  Run(detector_, At(milliseconds(20'100)));
  detector_.OnAsleep(now_);
  EXPECT_EQ(detector_.asleep_since(), At(seconds(8)));
  // Not where it was used in such a moment, or had much to do.
  detector_.OnAwakeBriefly(now_);
  detector_.OnUse(now_);
  Run(detector_, At(seconds(30)));
  detector_.OnAsleep(now_);
  EXPECT_EQ(detector_.asleep_since(), At(seconds(30)));
  detector_.OnAwakeBriefly(now_);
  cpu_per_second_ = milliseconds(100);
  Run(detector_, At(seconds(40)));
  detector_.OnAsleep(now_);
  EXPECT_EQ(detector_.asleep_since(), At(seconds(40)));
  Run(detector_, At(seconds(50)));
  detector_.OnAwake(now_);
  Run(detector_, At(seconds(51)));
  detector_.OnAsleep(now_);
  EXPECT_EQ(detector_.asleep_since(), At(seconds(51)));
}

TEST_F(IdleDetectorTest, AZeroTimeDoesNotSpin) {
  IdleDetector eager({.after = Duration(0)}, *this);
  evidence_.tasks_running = 1;
  eager.OnAwake(start_);
  Run(eager, At(seconds(1)));
  EXPECT_LE(looks_, 101);
}

}  // namespace
}  // namespace im::agent
