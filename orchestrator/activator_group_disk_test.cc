// Groups that go to disk, and come back: all, or none.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "orchestrator/activator_fixture.h"

namespace im::orchestrator {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Disk = Activator::Report::Disk;
using EndKind = Activator::End::Kind;
using State = Activator::Report::State;

class ActivatorGroupDiskTest : public ActivatorFixture {
 protected:
  static constexpr HostId kMembers[] = {0, 1, 2};

  void SetUp() override {
    HostPolicy policy;
    policy.release_after = seconds(10);
    policy.to_disk = true;
    for (const char* name : {"a", "b", "c"}) Add(name, policy);
    table.AddGroup("g", {0, 1, 2});
    for (const HostId host : kMembers) {
      if (table[host].state == HostState::kImaginary) SendSyn(host);
      Report(host, State::kRunning);
    }
    recorder.Take();
  }
  void PauseAll() {
    for (const HostId host : kMembers) Report(host, State::kPaused);
    recorder.Take();
  }
  // A status of a paused member that knows its goal.
  void Say(HostId host, Disk disk, std::string not_checkpointed = "") {
    activator->OnInstanceStatus(host, table[host].incarnation,
                                {.state = State::kPaused,
                                 .goal_acknowledged = true,
                                 .not_checkpointed = std::move(not_checkpointed),
                                 .disk = disk},
                                now);
  }
  void SayAll(Disk disk) {
    for (const HostId host : kMembers) Say(host, disk);
  }
  void EndOnDisk(HostId host) {
    activator->OnInstanceEnded(host, table[host].incarnation,
                               {.kind = EndKind::kCheckpointed, .message = "checkpointed"}, now);
  }
  void EndUntouched(HostId host) {
    activator->OnInstanceEnded(
        host, table[host].incarnation,
        {.kind = EndKind::kFailed, .message = "no sandbox", .checkpoint_kept = true}, now);
  }
  // All asked to be held.
  void Going() {
    PauseAll();
    Advance(seconds(10));
    ASSERT_THAT(States(), ElementsAre("releasing", "releasing", "releasing"));
    recorder.Take();
  }
  void Dumping() {
    Going();
    SayAll(Disk::kHeld);
    recorder.Take();
  }
  void Committing() {
    Dumping();
    SayAll(Disk::kDumped);
    recorder.Take();
  }
  void OnDisk() {
    Committing();
    for (const HostId host : kMembers) EndOnDisk(host);
    ASSERT_THAT(States(), ElementsAre("checkpointed", "checkpointed", "checkpointed"));
    recorder.Take();
  }
  void Restoring() {
    OnDisk();
    SendSyn(1);
    ASSERT_THAT(States(), ElementsAre("restoring", "restoring", "restoring"));
    recorder.Take();
  }
  std::vector<std::string> States() const {
    std::vector<std::string> states;
    for (const HostId host : kMembers) states.emplace_back(HostStateName(table[host].state));
    return states;
  }
};

// ---- to disk ----------------------------------------------------------------

TEST_F(ActivatorGroupDiskTest, EachStepIsAskedForWhenAllHaveDoneTheLast) {
  PauseAll();
  Advance(seconds(10));
  EXPECT_THAT(recorder.Take(),
              AllOf(Contains("goal a#1 release if idle"), Contains("goal b#2 release if idle"),
                    Contains("goal c#3 release if idle")));
  Say(0, Disk::kHeld);
  Say(2, Disk::kHeld);
  Say(2, Disk::kHeld);
  EXPECT_THAT(recorder.Take(), IsEmpty());
  EXPECT_EQ(activator->outlook(0, now).awaits, HostId{1});
  EXPECT_EQ(activator->outlook(1, now).awaits, std::nullopt);
  Say(1, Disk::kHeld);
  EXPECT_THAT(recorder.Take(), ElementsAre("goal a#1 dump", "goal b#2 dump", "goal c#3 dump"));
  SayAll(Disk::kDumping);
  Say(0, Disk::kDumped);
  Say(1, Disk::kDumped);
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Say(2, Disk::kDumped);
  EXPECT_THAT(recorder.Take(), ElementsAre("goal a#1 commit", "goal b#2 commit", "goal c#3 commit"));
  EndOnDisk(1);
  EXPECT_THAT(recorder.Take(), ElementsAre("b releasing > checkpointed"));
  EndOnDisk(0);
  EndOnDisk(2);
  EXPECT_THAT(States(), ElementsAre("checkpointed", "checkpointed", "checkpointed"));
  recorder.Take();
  Advance(minutes(60));
  EXPECT_THAT(recorder.Take(), IsEmpty());
}

TEST_F(ActivatorGroupDiskTest, AStatusThatDoesNotKnowItsGoalIsNoStep) {
  Going();
  Say(0, Disk::kHeld);
  Say(1, Disk::kHeld);
  activator->OnInstanceStatus(2, table[2].incarnation, {.state = State::kPaused, .disk = Disk::kHeld},
                              now);
  EXPECT_THAT(recorder.Take(), IsEmpty());
}

TEST_F(ActivatorGroupDiskTest, OneThatCannotBeDumpedLeavesAllPausedAndItIsTriedAgain) {
  Dumping();
  Say(0, Disk::kDumped);
  Say(1, Disk::kHeld, "CRIU: a device");
  EXPECT_THAT(recorder.Take(), ElementsAre("goal a#1 stay", "goal c#3 stay"));
  Say(0, Disk::kHeld);
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Say(2, Disk::kDumping);  // what was begun is awaited
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Say(2, Disk::kHeld);
  EXPECT_THAT(States(), ElementsAre("paused", "paused", "paused"));
  EXPECT_THAT(recorder.Take(), AllOf(Contains("goal a#1 loosen"), Contains("goal b#2 loosen"),
                                     Contains("goal c#3 loosen")));
  EXPECT_EQ(table[1].history->last_error, "not checkpointed: CRIU: a device");
  EXPECT_EQ(table[0].history->last_error, "");
  Advance(seconds(9));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Advance(seconds(1));
  EXPECT_THAT(States(), ElementsAre("releasing", "releasing", "releasing"));
  SayAll(Disk::kHeld);
  SayAll(Disk::kDumped);
  for (const HostId host : kMembers) EndOnDisk(host);
  EXPECT_THAT(States(), ElementsAre("checkpointed", "checkpointed", "checkpointed"));
}

TEST_F(ActivatorGroupDiskTest, AWakeCallsAllOffAndNobodyRunsBeforeAllAreBack) {
  Dumping();
  Say(0, Disk::kDumped);
  EXPECT_EQ(SendSyn(1), Activator::Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), ElementsAre("goal a#1 stay", "goal b#2 stay", "goal c#3 stay"));
  Say(0, Disk::kHeld);
  Say(1, Disk::kHeld);
  SendSyn(0);
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Say(2, Disk::kHeld);
  const std::vector<std::string> calls = recorder.Take();
  EXPECT_THAT(calls, AllOf(Contains("goal a#1 run"), Contains("goal b#2 run"),
                           Contains("goal c#3 run"), Contains("deliver b 1"),
                           Contains("deliver a 1")));
  EXPECT_THAT(calls, Not(Contains(HasSubstr("loosen"))));
}

TEST_F(ActivatorGroupDiskTest, AWakeDuringTheCommitRestoresAll) {
  Committing();
  SendSyn(1);
  EXPECT_THAT(recorder.Take(), IsEmpty());
  EndOnDisk(0);
  EXPECT_THAT(States(), ElementsAre("restoring", "releasing", "releasing"));
  EndOnDisk(1);
  EXPECT_THAT(States(), ElementsAre("restoring", "restoring", "releasing"));
  Say(0, Disk::kHeld);
  Say(1, Disk::kHeld);
  EndOnDisk(2);
  EXPECT_THAT(States(), ElementsAre("restoring", "restoring", "restoring"));
  Say(2, Disk::kHeld);
  EXPECT_THAT(States(), ElementsAre("running", "running", "running"));
}

TEST_F(ActivatorGroupDiskTest, OneThatIsInUseCallsAllOff) {
  Going();
  Say(0, Disk::kHeld);
  Report(1, State::kReleaseRefused, /*acknowledged=*/true);
  EXPECT_THAT(recorder.Take(), AllOf(Contains("b releasing > running"), Contains("goal a#1 stay"),
                                     Contains("goal c#3 stay")));
  Say(0, Disk::kHeld);
  Say(2, Disk::kNotHeld);
  EXPECT_THAT(recorder.Take(), AllOf(Contains("goal a#1 run"), Contains("goal c#3 run")));
}

TEST_F(ActivatorGroupDiskTest, OneThatRefusesALaterStepCallsAllOff) {
  Dumping();
  Say(0, Disk::kDumped);
  Report(1, State::kReleaseRefused, /*acknowledged=*/true);
  EXPECT_THAT(recorder.Take(), AllOf(Contains("b releasing > running"), Contains("goal a#1 stay"),
                                     Contains("goal c#3 stay")));
}

TEST_F(ActivatorGroupDiskTest, OneThatDoesNotAnswerCallsAllOffAndIsKilledInTheEnd) {
  Dumping();
  Say(0, Disk::kDumped);
  Say(2, Disk::kDumped);
  Advance(seconds(15));
  EXPECT_THAT(recorder.Take(), ElementsAre("goal a#1 stay", "goal b#2 stay", "goal c#3 stay"));
  Say(0, Disk::kHeld);
  Say(2, Disk::kHeld);
  Advance(seconds(15));
  EXPECT_THAT(recorder.Take(), AllOf(Contains("goal b#2 kill"), Contains("goal a#1 loosen")));
  EXPECT_THAT(States(), ElementsAre("paused", "releasing", "paused"));
  End(1, EndKind::kFailed, "killed");
  EXPECT_THAT(States(), ElementsAre("paused", "imaginary", "paused"));
}

TEST_F(ActivatorGroupDiskTest, AMemberThatIsLostOnTheWayKeepsNobody) {
  Dumping();
  Say(0, Disk::kDumped);
  Say(1, Disk::kDumped);
  End(2, EndKind::kFailed, "killed");
  EXPECT_THAT(recorder.Take(), ElementsAre("c releasing > imaginary", "goal a#1 commit",
                                           "goal b#2 commit"));
  EndOnDisk(0);
  EndOnDisk(1);
  EXPECT_THAT(States(), ElementsAre("checkpointed", "checkpointed", "imaginary"));
  SendSyn(0);
  EXPECT_THAT(States(), ElementsAre("restoring", "restoring", "starting"));
}

TEST_F(ActivatorGroupDiskTest, ACommitThatFailsBringsAllBack) {
  Committing();
  EndOnDisk(0);
  Say(1, Disk::kHeld, "disk full");
  EXPECT_THAT(States(), ElementsAre("checkpointed", "releasing", "releasing"));
  EndOnDisk(2);
  EXPECT_THAT(States(), ElementsAre("restoring", "paused", "restoring"));
  Say(0, Disk::kHeld);
  Say(2, Disk::kHeld);
  EXPECT_THAT(States(), ElementsAre("running", "paused", "running"));  // GroupSuspender's part
}

TEST_F(ActivatorGroupDiskTest, WhatAFellowSentLastIsNoReasonToRestore) {
  Committing();
  EXPECT_EQ(Send(0, Tcp(3, 5, 2, 2888, kTcpAck, 1, 20)), Activator::Verdict::kHeld);
  EndOnDisk(0);
  EXPECT_EQ(table[0].state, HostState::kCheckpointed);
  EXPECT_EQ(activator->held().packets(), 0u);
}

// ---- back -------------------------------------------------------------------

TEST_F(ActivatorGroupDiskTest, AnyPacketRestoresAllAndTheyRunWhenTheLastIsThere) {
  OnDisk();
  SendSyn(1);
  EXPECT_THAT(States(), ElementsAre("restoring", "restoring", "restoring"));
  recorder.Take();
  Say(1, Disk::kHeld);
  Say(2, Disk::kHeld);
  Say(2, Disk::kHeld);
  EXPECT_EQ(activator->outlook(1, now).awaits, HostId{0});
  Advance(seconds(29));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Say(0, Disk::kHeld);
  EXPECT_THAT(recorder.Take(),
              ElementsAre("a restoring > running", "goal a#5 run", "b restoring > running",
                          "deliver b 1", "goal b#4 run", "c restoring > running", "goal c#6 run"));
  EXPECT_EQ(table[0].history->cause_text, "group b");
}

TEST_F(ActivatorGroupDiskTest, AStatusFromBeforeItRanIsNoPause) {
  Restoring();
  SayAll(Disk::kHeld);
  recorder.Take();
  Say(0, Disk::kHeld);
  activator->OnInstanceStatus(0, table[0].incarnation, {.state = State::kPaused, .waking = true}, now);
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Report(0, State::kRunning, true, /*thaws=*/1);
  EXPECT_EQ(table[0].history->thaws, 0u);
  EXPECT_EQ(table[0].history->wake_kind, History::WakeKind::kRestore);
  Report(0, State::kPaused, true, 1);
  EXPECT_THAT(recorder.Take(), ElementsAre("a running > paused"));
}

TEST_F(ActivatorGroupDiskTest, AMemberThatIsLostInTheRestoreKeepsNobody) {
  Restoring();
  Say(0, Disk::kHeld);
  Say(1, Disk::kHeld);
  End(2, EndKind::kFailed, "CRIU: damaged");
  EXPECT_THAT(States(), ElementsAre("running", "running", "imaginary"));
}

TEST_F(ActivatorGroupDiskTest, AMemberWhoseRestoreHasNotBegunIsTriedAgainBeforeTheyRun) {
  Restoring();
  Say(0, Disk::kHeld);
  Say(1, Disk::kHeld);
  EndUntouched(2);  // once more without a pause
  EXPECT_THAT(States(), ElementsAre("restoring", "restoring", "restoring"));
  EndUntouched(2);
  EXPECT_THAT(States(), ElementsAre("restoring", "restoring", "checkpointed"));
  Advance(seconds(5));
  EXPECT_THAT(States(), ElementsAre("restoring", "restoring", "restoring"));
  Say(2, Disk::kHeld);
  EXPECT_THAT(States(), ElementsAre("running", "running", "running"));
}

TEST_F(ActivatorGroupDiskTest, AMemberThatHangsInTheRestoreKeepsTheOthersForAWhileOnly) {
  Restoring();
  Say(0, Disk::kHeld);
  Say(1, Disk::kHeld);
  Advance(seconds(30));
  EXPECT_THAT(States(), ElementsAre("running", "running", "releasing"));
}

TEST_F(ActivatorGroupDiskTest, CallersDoNotWaitForAMemberThatIsTriedAgainAndAgain) {
  Restoring();
  Say(0, Disk::kHeld);
  Say(1, Disk::kHeld);
  EndUntouched(2);
  Advance(seconds(25));
  EndUntouched(2);
  recorder.Take();
  Advance(seconds(5));
  EXPECT_THAT(States(), ElementsAre("restoring", "restoring", "restoring"));
  EXPECT_THAT(recorder.Take(),
              Contains("refuse b 1 over: not up within 30s: c of its group is not restored"));
  Advance(seconds(15));
  EndUntouched(2);
  ASSERT_TRUE(activator->Wake(1, Cause(), now).ok());
  Advance(seconds(15));
  EndUntouched(2);
  recorder.Take();
  Advance(seconds(15));
  EXPECT_THAT(recorder.Take(),
              Contains("refuse b 0 over: not up within 30s: c of its group is not restored"));
}

TEST_F(ActivatorGroupDiskTest, ThoseOnDiskAreRestoredWhenAnotherIsPaused) {
  OnDisk();
  ASSERT_TRUE(activator->Release(2, "im release", now).ok());
  EXPECT_THAT(States(), ElementsAre("checkpointed", "checkpointed", "imaginary"));
  // As an instance that another orchestrator had started.
  activator->Adopt(2, 77, Cause(), now);
  EXPECT_THAT(States(), ElementsAre("checkpointed", "checkpointed", "starting"));
  Report(2, State::kPaused);
  EXPECT_THAT(States(), ElementsAre("restoring", "restoring", "paused"));
}

// Seed 211200 of the cluster simulation: imd was started anew while members went to disk.
TEST_F(ActivatorGroupDiskTest, APacketToOneThatWasTakenBackOnItsWayToDiskIsNotLost) {
  OnDisk();
  ASSERT_TRUE(activator->Release(2, "im release", now).ok());
  activator->Adopt(2, 77, Cause(), now);
  EXPECT_EQ(Send(2, Tcp(200, 5, 2, 6379, kTcpAck, 1)), Activator::Verdict::kHeld);
  EndOnDisk(2);
  EXPECT_THAT(States(), ElementsAre("restoring", "restoring", "restoring"));
  EXPECT_EQ(activator->held().packets(), 1u);
}

TEST_F(ActivatorGroupDiskTest, AUsersReleaseInTheRestoreKeepsNobody) {
  Restoring();
  ASSERT_TRUE(activator->Release(0, "im release", now).ok());
  Say(1, Disk::kHeld);
  Say(2, Disk::kHeld);
  EXPECT_THAT(States(), ElementsAre("releasing", "running", "running"));
}

TEST_F(ActivatorGroupDiskTest, AShutdownEndsAllWhereverTheyAre) {
  Dumping();
  Say(0, Disk::kDumped);
  activator->Shutdown("im down", /*force=*/false, now);
  EXPECT_THAT(recorder.Take(), AllOf(Contains("goal a#1 release"), Contains("goal b#2 release"),
                                     Contains("goal c#3 release")));
  for (const HostId host : kMembers) End(host, EndKind::kReleased, "");
  EXPECT_TRUE(activator->all_ended());
}

}  // namespace
}  // namespace im::orchestrator
