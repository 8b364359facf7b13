#include "orchestrator/agent/readiness.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A test that takes no time, and time that is moved by hand.
class ReadinessTest : public testing::Test, public Readiness::Delegate {
 protected:
  ReadinessTest() {
    check_.add_argv("test");
    check_.set_interval_ms(10'000);
    check_.set_timeout_ms(5'000);
    check_.set_retries(3);
  }

  void RunTest() override { runs_.push_back(now_ - start_); }
  void KillTest() override { ++kills_; }
  void OnReady() override { ready_at_ = now_ - start_; }
  void OnUnhealthy(const std::string& why) override {
    unhealthy_at_ = now_ - start_;
    why_ = why;
  }

  void Start() { readiness_.OnProgramStarted(now_); }
  // Each run fails at once.
  void FailUntil(Duration end) {
    while (true) {
      if (answered_ < runs_.size()) {
        ++answered_;
        readiness_.OnTestEnded("exit code 1", now_);
        continue;
      }
      if (readiness_.NextDeadline() > start_ + end) break;
      now_ = readiness_.NextDeadline();
      readiness_.OnTimer(now_);
    }
    now_ = start_ + end;
  }

  const Instant start_{seconds(1'000)};
  Instant now_ = start_;
  proto::Healthcheck check_;
  Readiness readiness_{&check_, *this};
  std::vector<Duration> runs_;
  size_t answered_ = 0;
  int kills_ = 0;
  std::optional<Duration> ready_at_, unhealthy_at_;
  std::string why_;
};

TEST_F(ReadinessTest, WithoutAHealthcheckAHostIsReady) {
  const Readiness readiness(nullptr, *this);
  EXPECT_TRUE(readiness.ready());
  EXPECT_EQ(readiness.Reason(), "");
  EXPECT_EQ(readiness.NextDeadline(), kNever);
}

TEST_F(ReadinessTest, TheTestIsRunSoonThenSeldomerUntilItSucceeds) {
  EXPECT_EQ(readiness_.NextDeadline(), kNever);
  Start();
  EXPECT_EQ(readiness_.Reason(), "its healthcheck has not succeeded yet");
  FailUntil(milliseconds(4'000));
  EXPECT_EQ(runs_, (std::vector<Duration>{milliseconds(0), milliseconds(50), milliseconds(150),
                                          milliseconds(350), milliseconds(750), milliseconds(1'550),
                                          milliseconds(2'550), milliseconds(3'550)}));
  EXPECT_EQ(readiness_.Reason(), "its healthcheck failed: exit code 1");
  now_ = readiness_.NextDeadline();
  readiness_.OnTimer(now_);
  readiness_.OnTestEnded("", now_);
  EXPECT_EQ(ready_at_, milliseconds(4'550));
  EXPECT_TRUE(readiness_.ready());
  EXPECT_EQ(readiness_.NextDeadline(), kNever) << "it is not run again";
}

TEST_F(ReadinessTest, AFailureInEachIntervalCounts) {
  Start();
  FailUntil(seconds(29));
  EXPECT_FALSE(unhealthy_at_);
  FailUntil(seconds(60));
  ASSERT_TRUE(unhealthy_at_);
  EXPECT_GE(*unhealthy_at_, seconds(30));
  EXPECT_LE(*unhealthy_at_, seconds(34));
  EXPECT_EQ(why_, "its healthcheck failed: exit code 1 (3 times that count)");
  EXPECT_EQ(readiness_.NextDeadline(), kNever);
  EXPECT_FALSE(readiness_.ready());
}

TEST_F(ReadinessTest, NoneCountsInTheStartPeriod) {
  check_.set_start_period_ms(60'000);
  Start();
  FailUntil(seconds(89));
  EXPECT_FALSE(unhealthy_at_);
  FailUntil(seconds(100));
  EXPECT_TRUE(unhealthy_at_);
}

TEST_F(ReadinessTest, TheGapMayBeGiven) {
  check_.set_start_interval_ms(700);
  Start();
  FailUntil(seconds(2));
  EXPECT_EQ(runs_,
            (std::vector<Duration>{milliseconds(0), milliseconds(700), milliseconds(1'400)}));
}

TEST_F(ReadinessTest, ATestThatTakesTooLongIsKilledAndHasFailed) {
  Start();
  now_ += milliseconds(4'999);
  readiness_.OnTimer(now_);
  EXPECT_EQ(kills_, 0);
  now_ += milliseconds(1);
  readiness_.OnTimer(now_);
  EXPECT_EQ(kills_, 1);
  EXPECT_EQ(readiness_.NextDeadline(), kNever) << "its end comes first";
  readiness_.OnTestEnded("", now_);
  EXPECT_FALSE(readiness_.ready());
  EXPECT_EQ(readiness_.Reason(), "its healthcheck failed: took longer than 5s");
}

TEST_F(ReadinessTest, AHostThatStopsIsNotTestedAnyMore) {
  Start();
  readiness_.OnTestEnded("exit code 1", now_);
  readiness_.Stop();
  EXPECT_EQ(readiness_.NextDeadline(), kNever);
  EXPECT_NE(readiness_.Reason(), "") << "it never was ready";
}

TEST_F(ReadinessTest, WhatIsRestoredWasReadyBefore) {
  readiness_.OnRestored();
  Start();
  EXPECT_TRUE(readiness_.ready());
  EXPECT_TRUE(runs_.empty());
}

}  // namespace
}  // namespace im::agent
