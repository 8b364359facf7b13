// Groups that are suspended together: started and released together.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "orchestrator/activator_fixture.h"

namespace im::orchestrator {
namespace {

using State = Activator::Report::State;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

class ActivatorGroupTest : public ActivatorFixture {
 protected:
  void SetUp() override {
    HostPolicy policy;
    policy.release_after = std::chrono::seconds(10);
    for (const char* name : {"a", "b", "c"}) Add(name, policy);
    table.AddGroup("g", {0, 1, 2});
  }
  void PauseAll() {
    for (const HostId host : {0, 1, 2}) {
      if (table[host].state == HostState::kImaginary) SendSyn(host);
      if (table[host].state == HostState::kStarting) Report(host, State::kRunning);
      Report(host, State::kPaused);
    }
    recorder.Take();
  }
  std::vector<HostState> States() {
    return {table[0].state, table[1].state, table[2].state};
  }
};

TEST_F(ActivatorGroupTest, AWakeOfOneStartsAll) {
  SendSyn(1);
  EXPECT_EQ(States(), std::vector<HostState>(3, HostState::kStarting));
  EXPECT_EQ(table[0].history->cause_text, "group b");
  EXPECT_EQ(activator->counters().starts, 3u);
}

TEST_F(ActivatorGroupTest, AThawStartsThoseWithoutAnInstance) {
  PauseAll();
  End(2, Activator::End::Kind::kExited, "done");
  EXPECT_EQ(table[2].state, HostState::kImaginary);
  Report(0, State::kRunning, false, 1);
  Advance(std::chrono::seconds(2));  // it had ended soon after its start
  EXPECT_EQ(table[2].state, HostState::kStarting);
  EXPECT_EQ(table[1].state, HostState::kPaused);  // GroupSuspender's part
}

TEST_F(ActivatorGroupTest, AllAreReleasedWhenTheLastIsDue) {
  PauseAll();
  Advance(std::chrono::seconds(4));
  Report(1, State::kRunning, false, 1);
  Report(1, State::kPaused, false, 1);
  recorder.Take();
  Advance(std::chrono::seconds(7));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  EXPECT_EQ(activator->outlook(0, now).kept_by_fellow, HostId{1});
  Advance(std::chrono::seconds(3));
  EXPECT_EQ(States(), std::vector<HostState>(3, HostState::kReleasing));
}

TEST_F(ActivatorGroupTest, OneThatIsGoneKeepsNobody) {
  PauseAll();
  Advance(std::chrono::seconds(4));
  Report(1, State::kRunning, false, 1);
  Advance(std::chrono::seconds(7));
  EXPECT_EQ(table[0].state, HostState::kPaused);
  End(1, Activator::End::Kind::kExited, "done");
  Advance(Duration(0));
  EXPECT_EQ(table[0].state, HostState::kReleasing);
  EXPECT_EQ(table[2].state, HostState::kReleasing);
}

TEST_F(ActivatorGroupTest, ARefusedReleaseBringsAllBack) {
  PauseAll();
  Advance(std::chrono::seconds(10));
  ASSERT_EQ(States(), std::vector<HostState>(3, HostState::kReleasing));
  End(2, Activator::End::Kind::kReleased, "");
  ASSERT_EQ(table[2].state, HostState::kImaginary);
  recorder.Take();
  Report(0, State::kReleaseRefused, /*acknowledged=*/true);
  EXPECT_EQ(table[0].state, HostState::kRunning);
  EXPECT_EQ(table[2].state, HostState::kStarting);
  EXPECT_THAT(recorder.Take(), Contains("goal b#2 run"));
}

TEST_F(ActivatorGroupTest, AWakeDuringTheReleaseIsOneOfAll) {
  PauseAll();
  Advance(std::chrono::seconds(10));
  recorder.Take();
  SendSyn(0);
  EXPECT_THAT(recorder.Take(), ElementsAre("goal a#1 run", "goal b#2 run", "goal c#3 run"));
}

TEST_F(ActivatorGroupTest, WhatASleepingMemberSendsWakesNobody) {
  PauseAll();
  ASSERT_TRUE(activator->Release(0, "im release", now).ok());
  recorder.Take();
  // From b, which is paused: kept, but no reason to start a again.
  EXPECT_EQ(Send(0, Tcp(3, 5, 2, 2888, kTcpAck, 1, 20)), Activator::Verdict::kHeld);
  End(0, Activator::End::Kind::kReleased, "");
  EXPECT_EQ(table[0].state, HostState::kImaginary);
  EXPECT_THAT(recorder.Take(), Contains("refuse a 1: the connection is gone"));
  EXPECT_EQ(Send(0, Tcp(3, 5, 2, 2888, kTcpSyn, 1)), Activator::Verdict::kRefused);
  EXPECT_EQ(table[0].state, HostState::kImaginary);
  // From outside the group it is.
  EXPECT_EQ(SendSyn(0), Activator::Verdict::kHeld);
  EXPECT_EQ(table[0].state, HostState::kStarting);
}

}  // namespace
}  // namespace im::orchestrator
