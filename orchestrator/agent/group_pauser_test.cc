#include "orchestrator/agent/group_pauser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const IpAddress kLeader = IpAddress::V4(0x0a4d0002);
const IpAddress kOther = IpAddress::V4(0x0a4d0003);

class GroupPauserTest : public ::testing::Test, public GroupPauser::Delegate {
 protected:
  GroupPauserTest() {
    proto::Group group;
    group.set_heartbeat_bytes_per_s(1'000);
    for (const IpAddress& fellow : {kLeader, kOther})
      group.add_fellows(fellow.ToBytes());
    pauser.emplace(group, now, *this);
  }

  bool BusyNow() override { return busy; }
  bool Freeze() override {
    if (freeze_fails) return false;
    frozen = true;
    pauser->OnPausedOrThawed(true, now);
    return true;
  }
  void ThawNow(const proto::WakeCause& cause) override {
    frozen = false;
    thawed_by = cause.detail();
    pauser->OnPausedOrThawed(false, now);
  }
  void OnGroupUse() override { ++uses; }
  void OnGroupChange() override { ++changes; }

  void Beat(const IpAddress& fellow, bool inbound) {
    pauser->OnFellow(fellow, inbound, 50, now);
    pauser->OnFellow(fellow, !inbound, 50, now + milliseconds(2));
  }
  // So many seconds of beats, which the fellow begins (else we do).
  void Beats(const IpAddress& fellow, bool theirs, int count = 4) {
    for (int i = 0; i < count; ++i, now += seconds(1)) Beat(fellow, theirs);
  }
  void Ask(bool forced = false, bool at_once = false) {
    ASSERT_TRUE(pauser->IsNewRequest(++round));
    pauser->OnAsked(forced, at_once, now);
  }
  // Both begin beats with us; the leader's is still awaited.
  void FreezeAtTheOthersBeat() {
    for (int i = 0; i < 4; ++i, now += seconds(1)) {
      Beat(kLeader, true);
      Beat(kOther, true);
    }
    pauser->OnQuiet();
    Ask();
    pauser->OnFellow(kOther, true, 50, now);
    EXPECT_TRUE(frozen);
    EXPECT_THAT(Status().awaits(), testing::ElementsAre(kLeader.ToBytes()));
  }
  void Wake(const std::string& by) {
    proto::WakeCause cause;
    cause.set_detail(by);
    pauser->Wake(cause, now);
  }
  proto::GroupStatus Status() {
    proto::InstanceStatus status;
    pauser->Describe(now, status);
    return status.group();
  }

  Instant now{seconds(1'000)};
  bool busy = false, freeze_fails = false, frozen = false;
  int uses = 0, changes = 0;
  uint64_t round = 0;
  std::string thawed_by;
  std::optional<GroupPauser> pauser;
};

TEST_F(GroupPauserTest, AHeartbeatIsNoUseAndMoreIs) {
  for (int i = 0; i < 100; ++i, now += seconds(1))
    ASSERT_FALSE(pauser->OnFellow(kLeader, true, 900, now)) << i;
  // Ten seconds' worth may come at once.
  now += seconds(20);
  EXPECT_FALSE(pauser->OnFellow(kLeader, false, 10'000, now));
  EXPECT_TRUE(pauser->OnFellow(kLeader, true, 100, now));
  now += seconds(1);
  EXPECT_FALSE(pauser->OnFellow(kLeader, true, 900, now));
}

TEST_F(GroupPauserTest, PausesAtOnceWhereNobodyBeginsBeatsWithIt) {
  Beats(kLeader, /*theirs=*/false);
  pauser->OnQuiet();
  EXPECT_TRUE(Status().quiet());
  EXPECT_EQ(Status().leads_size(), 1);
  Ask();
  EXPECT_TRUE(frozen);
  EXPECT_EQ(Status().awaits_size(), 0);
  EXPECT_EQ(Status().pause_answered(), 1u);
}

TEST_F(GroupPauserTest, FreezesBeforeTheNextBeatIsDelivered) {
  Beats(kLeader, /*theirs=*/true);
  pauser->OnQuiet();
  Ask();
  EXPECT_FALSE(frozen);
  EXPECT_TRUE(Status().falling());
  pauser->OnFellow(kOther, true, 50, now);  // nobody's beat
  EXPECT_FALSE(frozen);
  pauser->OnFellow(kLeader, true, 50, now);
  EXPECT_TRUE(frozen);  // before OnFellow returned, so before it is delivered
  EXPECT_EQ(Status().awaits_size(), 0);
}

TEST_F(GroupPauserTest, AwaitsTheBeatsOfAllWhoBegin) {
  FreezeAtTheOthersBeat();
  changes = 0;
  pauser->OnFellow(kLeader, true, 50, now);
  EXPECT_EQ(Status().awaits_size(), 0);
  EXPECT_GT(changes, 0);
}

TEST_F(GroupPauserTest, AFellowThatIsGoneKeepsNobodyWaiting) {
  FreezeAtTheOthersBeat();
  changes = 0;
  pauser->OnFellowGone(kLeader, /*for_good=*/false, now);
  EXPECT_EQ(Status().awaits_size(), 0);
  EXPECT_GT(changes, 0);  // reported
}

TEST_F(GroupPauserTest, ABeatThatDoesNotComeEndsTheAttempt) {
  Beats(kLeader, /*theirs=*/true);
  pauser->OnQuiet();
  Ask();
  now = pauser->NextDeadline();
  EXPECT_LE(now, Instant(seconds(1'010)));
  pauser->OnTimer(now);
  EXPECT_FALSE(frozen);
  EXPECT_FALSE(Status().falling());
  EXPECT_TRUE(Status().beat_late());
  EXPECT_EQ(uses, 1);
  // And a beat now freezes nobody.
  pauser->OnFellow(kLeader, true, 50, now);
  EXPECT_FALSE(frozen);
}

TEST_F(GroupPauserTest, WhoAnswersIsThawedAtOnce) {
  Beats(kLeader, /*theirs=*/true);
  pauser->OnQuiet();
  Ask();
  pauser->OnFellow(kLeader, true, 50, now);
  ASSERT_TRUE(frozen);
  now += seconds(60);
  Wake("a packet");
  EXPECT_FALSE(frozen);
  EXPECT_EQ(thawed_by, "a packet");
}

TEST_F(GroupPauserTest, WhoBeginsIsThawedWhenTheAnswersAreDelivered) {
  for (int i = 0; i < 4; ++i, now += seconds(1)) {
    Beat(kLeader, false);
    Beat(kOther, false);
  }
  pauser->OnQuiet();
  Ask();
  ASSERT_TRUE(frozen);
  now += seconds(60);
  Wake("a packet");
  EXPECT_TRUE(frozen);
  EXPECT_TRUE(Status().waking());
  pauser->OnFellow(kOther, true, 50, now);
  pauser->OnTimer(now);
  EXPECT_TRUE(frozen);
  pauser->OnFellow(kLeader, true, 50, now);
  EXPECT_TRUE(frozen);  // it is about to be delivered
  pauser->OnTimer(now);
  EXPECT_FALSE(frozen);
  EXPECT_EQ(thawed_by, "a packet");
  EXPECT_FALSE(Status().waking());
}

TEST_F(GroupPauserTest, AnswersThatCameBeforeTheWakeCount) {
  Beats(kLeader, /*theirs=*/false);
  pauser->OnQuiet();
  Ask();
  now += seconds(60);
  pauser->OnFellow(kLeader, true, 50, now);
  EXPECT_TRUE(frozen);  // inner traffic wakes nobody
  Wake("the group");
  EXPECT_FALSE(frozen);
}

TEST_F(GroupPauserTest, AnswersAreNotAwaitedForEver) {
  Beats(kLeader, /*theirs=*/false);
  pauser->OnQuiet();
  Ask();
  Wake("a packet");
  ASSERT_TRUE(frozen);
  EXPECT_EQ(pauser->NextDeadline(), now + GroupPauser::kAnswerMax);
  now += GroupPauser::kAnswerMax;
  pauser->OnTimer(now);
  EXPECT_FALSE(frozen);
}

TEST_F(GroupPauserTest, NorFromAFellowThatIsGone) {
  Beats(kLeader, /*theirs=*/false);
  pauser->OnQuiet();
  Ask();
  Wake("a packet");
  pauser->OnFellowGone(kLeader, /*for_good=*/false, now);
  pauser->OnTimer(now);
  EXPECT_TRUE(frozen);  // its release may be called off
  pauser->OnFellowGone(kLeader, /*for_good=*/true, now);
  pauser->OnTimer(now);
  EXPECT_FALSE(frozen);
}

// Seed 107 of the cluster simulation: the members were being released when a
// wake called it off; the leader, who had heard of the withdrawals, did not wait
// for its followers any more.
TEST_F(GroupPauserTest, AReleaseThatMayBeCalledOffChangesNoOrder) {
  Beats(kLeader, /*theirs=*/false);
  pauser->OnQuiet();
  Ask();
  ASSERT_TRUE(frozen);
  // Tried twice; imd was started anew in between.
  for (int i = 0; i < 2; ++i) {
    now += seconds(60);
    pauser->OnFellowGone(kLeader, /*for_good=*/false, now);
  }
  Wake("release cancelled");
  EXPECT_TRUE(frozen);
  EXPECT_TRUE(Status().waking());
  pauser->OnFellow(kLeader, true, 50, now);
  pauser->OnTimer(now);
  EXPECT_FALSE(frozen);
  // Nor what is known of its beats.
  EXPECT_EQ(Status().leads_size(), 1);
}

TEST_F(GroupPauserTest, WaitsForNoAnswerOfWhoHasEndedWhileItSlept) {
  Beats(kLeader, /*theirs=*/false);
  pauser->OnQuiet();
  Ask();
  ASSERT_TRUE(frozen);
  now += seconds(60);
  pauser->OnFellowGone(kLeader, /*for_good=*/false, now);
  pauser->OnFellowGone(kLeader, /*for_good=*/true, now);
  Wake("release cancelled");
  EXPECT_FALSE(frozen);
}

TEST_F(GroupPauserTest, RefusesWhatIsNotQuiet) {
  Ask();
  EXPECT_FALSE(frozen);
  EXPECT_EQ(Status().pause_answered(), 1u);
  pauser->OnQuiet();
  busy = true;  // it began to work since
  Ask();
  EXPECT_FALSE(frozen);
  EXPECT_FALSE(Status().quiet());
  EXPECT_EQ(uses, 1);
  Ask(/*forced=*/true);
  EXPECT_TRUE(frozen);
}

TEST_F(GroupPauserTest, PausesAndWakesAtOnceWhenThereIsNoOrder) {
  for (int i = 0; i < 4; ++i, now += seconds(1)) {
    Beat(kLeader, true);
    Beat(kOther, false);
  }
  pauser->OnQuiet();
  Ask(/*forced=*/false, /*at_once=*/true);
  EXPECT_TRUE(frozen);
  EXPECT_EQ(Status().awaits_size(), 0);
  Wake("a packet");
  EXPECT_FALSE(frozen);
}

TEST_F(GroupPauserTest, UseWhileItIsAboutToBePausedEndsThat) {
  Beats(kLeader, /*theirs=*/true);
  pauser->OnQuiet();
  Ask();
  Wake("a packet");
  EXPECT_FALSE(Status().falling());
  EXPECT_FALSE(Status().quiet());
  EXPECT_EQ(uses, 1);
  pauser->OnFellow(kLeader, true, 50, now);
  EXPECT_FALSE(frozen);
}

TEST_F(GroupPauserTest, ARepeatedRequestAsksForNothing) {
  EXPECT_TRUE(pauser->IsNewRequest(7));
  EXPECT_FALSE(pauser->IsNewRequest(7));
  EXPECT_FALSE(pauser->IsNewRequest(3));  // of a new orchestrator
  EXPECT_TRUE(pauser->IsNewRequest(4));
}

TEST_F(GroupPauserTest, WhatCannotBeFrozenIsBusy) {
  pauser->OnQuiet();
  freeze_fails = true;
  Ask();
  EXPECT_FALSE(Status().quiet());
  EXPECT_EQ(uses, 1);
}

// On disk the order would be lost.
TEST_F(GroupPauserTest, WhoBeginsAwaitsTheSameAnswersWhenItWasRestored) {
  for (int i = 0; i < 4; ++i, now += seconds(1)) {
    Beat(kLeader, /*inbound=*/false);
    Beat(kOther, /*inbound=*/false);
  }
  pauser->OnQuiet();
  Ask();
  ASSERT_TRUE(frozen);
  EXPECT_THAT(pauser->AnswersAwaited(), testing::UnorderedElementsAre(kLeader, kOther));
  pauser->OnFellow(kOther, /*inbound=*/true, 50, now);
  const std::vector<IpAddress> awaited = pauser->AnswersAwaited();
  EXPECT_THAT(awaited, testing::ElementsAre(kLeader));

  proto::Group group;
  for (const IpAddress& fellow : {kLeader, kOther})
    group.add_fellows(fellow.ToBytes());
  pauser.emplace(group, now, *this);
  pauser->OnPausedOrThawed(true, now);
  pauser->OnRestored(awaited);
  Wake("a packet");
  EXPECT_TRUE(Status().waking());
  EXPECT_TRUE(frozen);
  pauser->OnFellow(kLeader, /*inbound=*/true, 50, now);
  pauser->OnTimer(now);
  EXPECT_FALSE(frozen);
  EXPECT_EQ(thawed_by, "a packet");
}

}  // namespace
}  // namespace im::agent
