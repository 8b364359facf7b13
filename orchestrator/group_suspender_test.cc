#include "orchestrator/group_suspender.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "orchestrator/test_packets.h"

namespace im::orchestrator {
namespace {

using GroupReport = GroupSuspender::Report;
using std::chrono::milliseconds;
using std::chrono::seconds;

// a, b and c are a group; what the suspender asks for is written down.
class GroupSuspenderTest : public ::testing::Test {
 protected:
  GroupSuspenderTest() {
    for (const char* name : {"a", "b", "c", "lone"})
      (void)*table.Add({.name = name, .address = TestAddress(next_address_++)}, now);
    table.AddGroup("g", {0, 1, 2});
    suspender.emplace(table);
  }

  // As the Activator would, along the table.
  void Move(HostId host, HostState to) {
    Transition t;
    t.host = host;
    t.to = to;
    t.at = now;
    if (to == HostState::kStarting) t.incarnation = ++incarnation_;
    table.Apply(t);
    suspender->OnTransition(host, now);
  }
  void Start(HostId host) {
    Move(host, HostState::kStarting);
    Move(host, HostState::kRunning);
    suspender->OnReport(host, {}, now);
  }
  void StartAll() {
    for (const HostId host : {0, 1, 2}) Start(host);
    EXPECT_EQ(Actions(), "");
  }
  void Quiet(HostId host, std::vector<HostId> leads = {}) {
    suspender->OnReport(host, {.quiet = true, .leads = std::move(leads)}, now);
  }
  void Paused(HostId host, std::vector<HostId> awaits = {}) {
    if (table[host].state == HostState::kRunning) Move(host, HostState::kPaused);
    suspender->OnReport(host, {.pause_answered = 9, .awaits = std::move(awaits)}, now);
  }
  void Falling(HostId host, std::vector<HostId> awaits) {
    suspender->OnReport(
        host,
        {.pause_answered = 9, .quiet = false, .falling = true, .awaits = std::move(awaits)}, now);
  }
  void Thawed(HostId host) {
    Move(host, HostState::kRunning);
    suspender->OnReport(host, {.pause_answered = 9}, now);
  }
  void Waking(HostId host) {
    suspender->OnReport(host, {.pause_answered = 9, .waking = true}, now);
  }
  void Advance(Duration by) {
    now += by;
    suspender->OnTimer(now);
  }
  // "pause a, wake b"
  std::string Actions() {
    return absl::StrJoin(suspender->TakeActions(), ", ",
                         [this](std::string* out, const GroupSuspender::Action& action) {
                           absl::StrAppend(out,
                                           action.kind == GroupSuspender::Action::Kind::kPause
                                               ? (action.at_once ? "freeze " : "pause ")
                                               : "wake ",
                                           table[action.host].name);
                         });
  }
  void Sleep() {
    StartAll();
    for (const HostId host : {0, 1, 2}) Quiet(host);
    for (const HostId host : {0, 1, 2}) Paused(host);
    EXPECT_EQ(Actions(), "pause a, pause b, pause c");
  }

  Instant now{seconds(1'000)};
  HostTable table;
  std::optional<GroupSuspender> suspender;

 private:
  uint32_t next_address_ = 2;
  uint64_t incarnation_ = 0;
};

TEST_F(GroupSuspenderTest, PausesWhenAllThatAreUpAreQuiet) {
  StartAll();
  Quiet(0);
  Quiet(1);
  EXPECT_EQ(Actions(), "");
  EXPECT_EQ(suspender->Reason(0), "group g: c is not quiet");
  Quiet(2);
  EXPECT_EQ(Actions(), "pause a, pause b, pause c");
  EXPECT_EQ(suspender->Reason(0), "group g: falling asleep");
}

TEST_F(GroupSuspenderTest, MembersWithoutAnInstanceDoNotCount) {
  Start(0);
  Start(1);
  Quiet(0);
  EXPECT_EQ(Actions(), "");
  Move(2, HostState::kStarting);
  Quiet(1);
  EXPECT_EQ(Actions(), "");
  EXPECT_EQ(suspender->Reason(0), "group g: c is starting");
  Move(2, HostState::kImaginary);
  EXPECT_EQ(Actions(), "pause a, pause b");
}

TEST_F(GroupSuspenderTest, WhoBeginsBeatsComesLast) {
  StartAll();
  Quiet(0, {1, 2});
  Quiet(1);
  Quiet(2);
  EXPECT_EQ(Actions(), "pause b, pause c");
  Paused(1);
  Paused(2, /*awaits=*/{0});
  EXPECT_EQ(Actions(), "");
  Paused(2);
  EXPECT_EQ(Actions(), "pause a");
  Paused(0);
  EXPECT_EQ(suspender->NextDeadline(), kNever);
}

// Of Spark's workers two took their last report for too long ago to be beats, and
// were paused at once: the master, which awaited them, was left until kStageMax.
TEST_F(GroupSuspenderTest, WhoseBeatIsAwaitedComesAfterItThoughItDoesNotKnow) {
  StartAll();
  Quiet(0);
  Quiet(1, {0});
  Quiet(2, {0});
  EXPECT_EQ(Actions(), "pause a");
  Paused(0, /*awaits=*/{1, 2});
  Quiet(2);
  EXPECT_EQ(Actions(), "");
  Paused(0, /*awaits=*/{1});
  EXPECT_EQ(Actions(), "pause c");
  Paused(2);
  EXPECT_EQ(Actions(), "");
  Paused(0);
  EXPECT_EQ(Actions(), "pause b");
}

// Who falls awaits a beat as one that is paused does.
TEST_F(GroupSuspenderTest, WhoseBeatIsAwaitedByOneThatFallsIsNotAsked) {
  StartAll();
  Quiet(0);
  Quiet(1, {0});
  Quiet(2);
  EXPECT_EQ(Actions(), "pause a, pause c");
  Paused(2);
  Falling(0, /*awaits=*/{1});
  Quiet(1);
  EXPECT_EQ(Actions(), "");
  Paused(0);
  EXPECT_EQ(Actions(), "pause b");
}

TEST_F(GroupSuspenderTest, ABeatOfOneThatIsPausedIsNotAwaitedForLong) {
  StartAll();
  for (const HostId host : {0, 1, 2}) Quiet(host);
  EXPECT_EQ(Actions(), "pause a, pause b, pause c");
  Paused(1);
  Falling(0, /*awaits=*/{1});
  Paused(2, /*awaits=*/{1});
  Advance(GroupSuspender::kSplitMax / 2);
  EXPECT_EQ(Actions(), "");
  // What was on its way has arrived at one of them.
  Paused(2);
  Advance(GroupSuspender::kSplitMax / 2);
  EXPECT_EQ(Actions(), "wake a, wake b, wake c");
  for (const HostId host : {1, 2}) Thawed(host);
  for (const HostId host : {0, 1, 2}) Quiet(host, {0, 1});
  EXPECT_EQ(Actions(), "freeze a, freeze b, freeze c");
}

TEST_F(GroupSuspenderTest, ABeatThatWasOnItsWayIsNotAwaitedInVain) {
  StartAll();
  for (const HostId host : {0, 1, 2}) Quiet(host);
  EXPECT_EQ(Actions(), "pause a, pause b, pause c");
  Paused(1);
  Falling(0, /*awaits=*/{1});
  Advance(GroupSuspender::kSplitMax / 2);
  Paused(0);
  Advance(GroupSuspender::kSplitMax);
  EXPECT_EQ(Actions(), "");
  Paused(2);
  EXPECT_EQ(suspender->NextDeadline(), kNever);
}

TEST_F(GroupSuspenderTest, AChainIsPausedFromItsEnd) {
  StartAll();
  Quiet(0, {1});
  Quiet(1, {2});
  Quiet(2);
  EXPECT_EQ(Actions(), "pause c");
  Paused(2);
  EXPECT_EQ(Actions(), "pause b");
  Paused(1);
  EXPECT_EQ(Actions(), "pause a");
}

TEST_F(GroupSuspenderTest, ACircleIsPausedAtOnce) {
  StartAll();
  Quiet(0, {1});
  Quiet(1, {0});
  Quiet(2);
  EXPECT_EQ(Actions(), "pause c");
  Paused(2);
  EXPECT_EQ(Actions(), "freeze a, freeze b");
}

TEST_F(GroupSuspenderTest, ABeatThatWasLateIsNotAwaitedAgain) {
  StartAll();
  for (const HostId host : {0, 1, 2}) Quiet(host);
  Paused(0);
  Actions();
  suspender->OnReport(1, {.pause_answered = 9, .beat_late = true}, now);
  EXPECT_EQ(Actions(), "wake a, wake b, wake c");
  Thawed(0);
  for (const HostId host : {0, 1, 2}) Quiet(host, {0});
  EXPECT_EQ(Actions(), "freeze a, freeze b, freeze c");
}

// Both ends may take each other for the one who begins, as where most of what they
// said was no heartbeat. Then the same order would wait in vain for ever.
TEST_F(GroupSuspenderTest, ABeatThatNeverCameIsNotAwaitedAgain) {
  StartAll();
  Quiet(0, {1});
  Quiet(1);
  Quiet(2);
  EXPECT_EQ(Actions(), "pause b, pause c");
  Paused(1, /*awaits=*/{0});
  Paused(2);
  Advance(GroupSuspender::kStageMax);
  EXPECT_EQ(Actions(), "wake b, wake c");
  for (const HostId host : {1, 2}) Thawed(host);
  for (const HostId host : {0, 1, 2}) Quiet(host, {0, 1});
  EXPECT_EQ(Actions(), "freeze a, freeze b, freeze c");
}

TEST_F(GroupSuspenderTest, ARefusalWakesThoseThatWereAsked) {
  StartAll();
  Quiet(0, {1, 2});
  Quiet(1);
  Quiet(2);
  Paused(1);
  Actions();
  suspender->OnReport(2, {.pause_answered = 9}, now);
  EXPECT_EQ(Actions(), "wake b, wake c");
  // And all begins anew when they are quiet again; a still is.
  Thawed(1);
  Quiet(1);
  EXPECT_EQ(Actions(), "");
  Quiet(2);
  EXPECT_EQ(Actions(), "pause b, pause c");
}

TEST_F(GroupSuspenderTest, UseOfOneThatWasNotAskedYetEndsIt) {
  StartAll();
  Quiet(0, {1, 2});
  Quiet(1);
  Quiet(2);
  Actions();
  suspender->OnReport(0, {}, now);
  EXPECT_EQ(Actions(), "wake b, wake c");
}

TEST_F(GroupSuspenderTest, AThawOfOneWakesAll) {
  Sleep();
  Thawed(1);
  EXPECT_EQ(Actions(), "wake a, wake c");
}

TEST_F(GroupSuspenderTest, OneThatWaitsForTheOthersAnswersWakesThem) {
  Sleep();
  Waking(0);
  EXPECT_EQ(Actions(), "wake a, wake b, wake c");
}

TEST_F(GroupSuspenderTest, AStartOfOneWakesAll) {
  Start(0);
  Start(1);
  Quiet(0);
  Quiet(1);
  Paused(0);
  Paused(1);
  Actions();
  Move(2, HostState::kStarting);
  EXPECT_EQ(Actions(), "wake a, wake b");
}

TEST_F(GroupSuspenderTest, AThawWhileTheOthersFallAsleepWakesAll) {
  StartAll();
  Quiet(0, {1, 2});
  Quiet(1);
  Quiet(2);
  Paused(1);
  Paused(2);
  EXPECT_EQ(Actions(), "pause b, pause c, pause a");
  Thawed(1);
  // a may be paused by now.
  EXPECT_EQ(Actions(), "wake a, wake b, wake c");
}

TEST_F(GroupSuspenderTest, APausedOneIsNotLeftBesideOneThatRuns) {
  Sleep();
  Thawed(1);
  Actions();
  Thawed(2);
  Advance(GroupSuspender::kSplitRetry);
  EXPECT_EQ(Actions(), "wake a");
  Advance(GroupSuspender::kSplitRetry);
  EXPECT_EQ(Actions(), "wake a");
  Thawed(0);
  Advance(GroupSuspender::kSplitRetry);
  EXPECT_EQ(Actions(), "");
  EXPECT_EQ(suspender->NextDeadline(), kNever);
}

TEST_F(GroupSuspenderTest, SilenceWhileFallingEndsIt) {
  StartAll();
  for (const HostId host : {0, 1, 2}) Quiet(host);
  Paused(0);
  Actions();
  Advance(GroupSuspender::kStageMax - milliseconds(1));
  EXPECT_EQ(Actions(), "");
  Advance(milliseconds(1));
  EXPECT_EQ(Actions(), "wake a, wake b, wake c");
}

TEST_F(GroupSuspenderTest, ANewOrchestratorFindsTheGroupAsleep) {
  for (const HostId host : {0, 1, 2}) Move(host, HostState::kStarting);
  for (const HostId host : {0, 1, 2}) {
    Move(host, HostState::kRunning);
    Paused(host);
  }
  Advance(seconds(5));
  EXPECT_EQ(Actions(), "");
  Thawed(0);
  EXPECT_EQ(Actions(), "wake b, wake c");
}

TEST_F(GroupSuspenderTest, AReleaseOfTheGroupIsNoReasonToWake) {
  Sleep();
  for (const HostId host : {0, 1, 2}) Move(host, HostState::kReleasing);
  Move(1, HostState::kImaginary);
  EXPECT_EQ(Actions(), "");
  // One that was used meanwhile is.
  Move(2, HostState::kRunning);
  suspender->OnReport(2, {}, now);
  EXPECT_EQ(Actions(), "");
}

TEST_F(GroupSuspenderTest, IsPausedByHandInTheSameOrder) {
  StartAll();
  suspender->OnReport(0, {.leads = {1}}, now);
  ASSERT_TRUE(suspender->Suspend(2, now).ok());
  EXPECT_EQ(Actions(), "pause b, pause c");
  Paused(1);
  EXPECT_EQ(Actions(), "pause a");
  Paused(0);
  Paused(2);
  EXPECT_TRUE(suspender->Suspend(1, now).ok());
  EXPECT_EQ(Actions(), "");
}

TEST_F(GroupSuspenderTest, IsNotPausedByHandWhileOneStarts) {
  Start(0);
  Move(1, HostState::kStarting);
  EXPECT_EQ(suspender->Suspend(0, now).message(), "group g: b is starting");
  EXPECT_EQ(Actions(), "");
}

TEST_F(GroupSuspenderTest, HostsWithoutAGroupAreNoConcern) {
  Move(3, HostState::kStarting);
  Move(3, HostState::kRunning);
  suspender->OnReport(3, {.quiet = true}, now);
  EXPECT_EQ(Actions(), "");
  EXPECT_EQ(suspender->Reason(3), "");
}

}  // namespace
}  // namespace im::orchestrator
