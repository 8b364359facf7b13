#include "netstack/loss_recovery.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/random.h"

namespace im::netstack {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Action = LossRecovery::Action;
using State = LossRecovery::State;

constexpr uint32_t kSegment = 1000;

// Segments are numbered; number n is bytes [1000 n, 1000 n + 1000).
class LossRecoveryTest : public ::testing::Test {
 protected:
  void Send(uint32_t first, uint32_t count) {
    for (uint32_t n = first; n < first + count; ++n) {
      recovery_.OnSent(n * kSegment, (n + 1) * kSegment, now_);
      next_ = std::max(next_, (n + 1) * kSegment);
    }
  }
  // Acknowledges those before `upto`, and [first, last) of the others.
  void Acknowledge(uint32_t upto, uint32_t first = 0, uint32_t last = 0) {
    std::vector<SackBlock> blocks;
    if (last > first) blocks.push_back({first * kSegment, last * kSegment});
    recovery_.OnAcknowledged(upto * kSegment, blocks, now_);
  }
  Action Update(bool timer = false) {
    return recovery_.Update(window_, kSegment, next_, timer, now_);
  }
  // Until the deadline, which is then dealt with.
  Action Wait() {
    EXPECT_NE(recovery_.Deadline(), kNever);
    now_ = std::max(now_, recovery_.Deadline());
    return Update(/*timer=*/true);
  }
  // A round trip of 100 ms is known.
  void Measure() {
    Send(0, 1);
    now_ += milliseconds(100);
    Acknowledge(1);
    Update();
  }
  const SackScoreboard& board() const { return recovery_.scoreboard(); }

  Instant now_ = Instant(seconds(10));
  LossRecovery recovery_{0};
  LossRecovery::Window window_{20 * kSegment, 1'000 * kSegment};
  uint32_t next_ = 0;
};

TEST_F(LossRecoveryTest, QuietWithoutAnythingInFlight) {
  EXPECT_EQ(recovery_.Deadline(), kNever);
  Measure();
  EXPECT_EQ(recovery_.Deadline(), kNever);
  EXPECT_FALSE(recovery_.busy());
  EXPECT_EQ(window_.congestion, 20 * kSegment);
}

TEST_F(LossRecoveryTest, ThreeSegmentsBehindAHoleTellALoss) {
  Measure();
  Send(1, 10);
  now_ += milliseconds(100);
  Acknowledge(1, 2, 4);
  Update();
  EXPECT_EQ(recovery_.state(), State::kOpen);  // it may only be late
  Acknowledge(1, 2, 5);
  Update();
  EXPECT_EQ(recovery_.state(), State::kRecovery);
  EXPECT_EQ(board().lost_bytes(), kSegment);
  EXPECT_EQ(window_.threshold, 14 * kSegment);
  EXPECT_GE(recovery_.BytesToSend(window_), kSegment);  // at once
}

TEST_F(LossRecoveryTest, OneSegmentBehindAHoleIsWaitedFor) {
  Measure();
  Send(1, 3);
  now_ += milliseconds(100);
  Acknowledge(1, 2, 3);
  Update();
  EXPECT_EQ(recovery_.Deadline(), now_ + milliseconds(25));
  Wait();
  EXPECT_EQ(recovery_.state(), State::kRecovery);
}

TEST_F(LossRecoveryTest, WhatComesLateIsNotLost) {
  Measure();
  Send(1, 10);
  now_ += milliseconds(100);
  Acknowledge(1, 2, 3);
  Update();
  now_ += milliseconds(10);
  Acknowledge(5);
  Update();
  EXPECT_EQ(recovery_.state(), State::kOpen);
  EXPECT_EQ(window_.congestion, 20 * kSegment);
  // The path reorders: from now on three do not tell.
  Send(11, 10);
  now_ += milliseconds(100);
  Acknowledge(11, 12, 17);
  Update();
  EXPECT_EQ(recovery_.state(), State::kOpen);
  EXPECT_EQ(Wait(), Action::kNone);
  EXPECT_EQ(recovery_.state(), State::kRecovery);
}

TEST_F(LossRecoveryTest, AFalseAlarmIsUndone) {
  Measure();
  Send(1, 10);
  now_ += milliseconds(100);
  Acknowledge(1, 3, 6);
  Update();
  EXPECT_EQ(recovery_.state(), State::kRecovery);
  Send(1, 2);  // again
  now_ += milliseconds(20);
  Acknowledge(2, 3, 6);
  Update();
  EXPECT_EQ(recovery_.state(), State::kRecovery);  // the other may be lost
  now_ += milliseconds(5);
  Acknowledge(6);
  Update();
  EXPECT_EQ(recovery_.state(), State::kOpen);
  EXPECT_EQ(window_.congestion, 20 * kSegment);
  EXPECT_EQ(window_.threshold, 1'000 * kSegment);
}

TEST_F(LossRecoveryTest, AnAnswerToTheSecondSendingUndoesNothing) {
  Measure();
  Send(1, 10);
  now_ += milliseconds(100);
  Acknowledge(1, 3, 11);
  Update();
  Send(1, 2);
  now_ += milliseconds(100);
  Acknowledge(11);
  Update();
  EXPECT_EQ(recovery_.state(), State::kOpen);
  EXPECT_EQ(window_.congestion, 14 * kSegment);
}

TEST_F(LossRecoveryTest, TheWindowShrinksAlongWithTheDeliveries) {
  Measure();
  Send(1, 20);
  now_ += milliseconds(100);
  uint32_t sent = 0;
  for (uint32_t n = 5; n <= 21; ++n) {
    Acknowledge(1, 2, n);
    Update();
    while (recovery_.BytesToSend(window_) >= kSegment) {
      const bool again = board().lost_bytes() > 0;
      Send(again ? 1 : next_ / kSegment, 1);
      ++sent;
    }
    EXPECT_LE(board().pipe_bytes(), 20 * kSegment);
  }
  // Seven tenths of what was delivered.
  EXPECT_GE(sent, 12u);
  EXPECT_LE(sent, 15u);
  now_ += milliseconds(100);
  Acknowledge(next_ / kSegment);
  Update();
  EXPECT_EQ(recovery_.state(), State::kOpen);
  EXPECT_EQ(window_.congestion, 14 * kSegment);
}

TEST_F(LossRecoveryTest, AllHolesAreFilledInOneRoundTrip) {
  Measure();
  Send(1, 20);
  now_ += milliseconds(100);
  std::vector<SackBlock> blocks;
  for (uint32_t n = 2; n < 20; n += 2) blocks.push_back({n * kSegment, (n + 1) * kSegment});
  recovery_.OnAcknowledged(kSegment, blocks, now_);
  Update();
  EXPECT_EQ(board().lost_bytes(), 9 * kSegment);
  uint32_t sent = 0;
  for (uint32_t n = 1; n < 20 && recovery_.BytesToSend(window_) > 0; n += 2, ++sent) Send(n, 1);
  EXPECT_GE(sent, 5u);
}

TEST_F(LossRecoveryTest, ATailIsProbed) {
  Measure();
  Send(1, 2);
  EXPECT_EQ(recovery_.Deadline(), now_ + milliseconds(200));
  EXPECT_EQ(Wait(), Action::kProbe);
  EXPECT_EQ(recovery_.state(), State::kOpen);
  EXPECT_EQ(Wait(), Action::kTimeout);
}

TEST_F(LossRecoveryTest, ATailInsideAMachineIsGivenTime) {
  Send(0, 1);
  now_ += std::chrono::microseconds(50);
  Acknowledge(1);
  Update();
  Send(1, 2);
  EXPECT_EQ(recovery_.Deadline(), now_ + kProbeTimeoutMin);
  // What is acknowledged before needs none.
  now_ += kProbeTimeoutMin - std::chrono::microseconds(1);
  Acknowledge(3);
  EXPECT_EQ(recovery_.Deadline(), kNever);
}

TEST_F(LossRecoveryTest, TimeoutsDouble) {
  Send(0, 4);
  EXPECT_EQ(recovery_.Deadline(), now_ + seconds(1));
  EXPECT_EQ(Wait(), Action::kTimeout);
  EXPECT_EQ(recovery_.state(), State::kLoss);
  EXPECT_EQ(window_.congestion, kSegment);
  EXPECT_EQ(window_.threshold, 14 * kSegment);
  EXPECT_EQ(recovery_.BytesToSend(window_), kSegment);
  Send(0, 1);
  for (int i = 1; i < 6; ++i) {
    EXPECT_EQ(recovery_.Deadline(), now_ + seconds(1 << i));
    EXPECT_EQ(Wait(), Action::kTimeout);
  }
  EXPECT_EQ(window_.threshold, 14 * kSegment);  // once for all
  Acknowledge(4);
  Update();
  EXPECT_EQ(recovery_.state(), State::kOpen);
}

TEST_F(LossRecoveryTest, TimeoutFollowsTheRoundTrip) {
  for (uint32_t n = 0; n < 50; ++n) {
    Send(n, 1);
    now_ += milliseconds(2);
    Acknowledge(n + 1);
  }
  EXPECT_EQ(recovery_.smoothed_rtt(), milliseconds(2));
  EXPECT_EQ(recovery_.Timeout(), milliseconds(202));
}

// A sender and a receiver over a path that loses any packet, ACKs too: all
// arrives, and there is always a deadline that lies ahead.
TEST(LossRecovery, GetsAllAcrossByAnySeed) {
  constexpr uint32_t kTotal = 300;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SeededRandom random(seed);
    const uint64_t loss = seed % 4 * 15;  // percent
    LossRecovery recovery(0);
    LossRecovery::Window window{10 * kSegment, 100 * kSegment};
    Instant now{seconds(10)};
    std::set<uint32_t> got;
    uint32_t next = 0, acknowledged = 0;
    std::vector<std::pair<Instant, uint32_t>> data;  // under way
    std::vector<std::pair<Instant, std::vector<SackBlock>>> answers;
    const auto send = [&](uint32_t n) {
      recovery.OnSent(n * kSegment, (n + 1) * kSegment, now);
      if (random.Below(100) >= loss)
        data.push_back({now + milliseconds(20 + random.Below(3)), n});
    };
    const auto fill = [&] {
      const auto segments = recovery.scoreboard().segments();
      std::vector<uint32_t> lost;
      for (const auto& s : segments)
        if (s.lost) lost.push_back(s.begin / kSegment);
      for (const uint32_t n : lost) {
        if (recovery.BytesToSend(window) == 0) break;
        send(n);
      }
      while (next < kTotal && recovery.BytesToSend(window) >= kSegment) send(next++);
    };
    fill();
    int steps = 0;
    for (; acknowledged < kTotal && steps < 100'000; ++steps) {
      Instant at = recovery.Deadline();
      ASSERT_NE(at, kNever) << seed;
      for (const auto& [due, n] : data) at = std::min(at, due);
      for (const auto& [due, blocks] : answers) at = std::min(at, due);
      now = std::max(now, at);
      for (size_t i = 0; i < data.size();) {
        if (data[i].first > now) {
          ++i;
          continue;
        }
        got.insert(data[i].second);
        data.erase(data.begin() + static_cast<ptrdiff_t>(i));
        uint32_t upto = 0;
        while (got.contains(upto)) ++upto;
        std::vector<SackBlock> blocks = {{upto * kSegment, upto * kSegment}};
        for (const uint32_t n : got) {
          if (n < upto || blocks.size() > 4) continue;
          if (blocks.back().end == n * kSegment && blocks.size() > 1) {
            blocks.back().end += kSegment;
          } else {
            blocks.push_back({n * kSegment, (n + 1) * kSegment});
          }
        }
        if (random.Below(100) >= loss) answers.push_back({now + milliseconds(20), blocks});
      }
      for (size_t i = 0; i < answers.size();) {
        if (answers[i].first > now) {
          ++i;
          continue;
        }
        const uint32_t upto = answers[i].second[0].begin;
        acknowledged = std::max(acknowledged, upto / kSegment);
        recovery.OnAcknowledged(acknowledged * kSegment,
                                std::span(answers[i].second).subspan(1), now);
        answers.erase(answers.begin() + static_cast<ptrdiff_t>(i));
        recovery.Update(window, kSegment, next * kSegment, false, now);
        if (recovery.state() != LossRecovery::State::kRecovery) window.congestion += kSegment / 2;
      }
      if (now >= recovery.Deadline() &&
          recovery.Update(window, kSegment, next * kSegment, true, now) == Action::kProbe)
        send(next - 1);
      fill();
    }
    ASSERT_EQ(acknowledged, kTotal) << "seed " << seed;
    EXPECT_EQ(recovery.scoreboard().pipe_bytes(), 0u) << seed;
  }
}

}  // namespace
}  // namespace im::netstack
