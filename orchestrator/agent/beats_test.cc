#include "orchestrator/agent/beats.h"

#include <gtest/gtest.h>

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class BeatsTest : public ::testing::Test {
 protected:
  // One beat and its answer, then silence until the next.
  void Beat(bool ours, Duration answer, Duration period) {
    beats.OnPayload(fellow, !ours, now);
    beats.OnPayload(fellow, ours, now + answer);
    now += period;
  }
  Beats::Role role() const { return beats.RoleTowards(fellow, now); }

  Beats beats;
  IpAddress fellow = IpAddress::V4(0x0a4d0003);
  Instant now{seconds(1'000)};
};

TEST_F(BeatsTest, WhoeverSpeaksAfterTheLongerSilenceBegins) {
  for (const Duration period : {Duration(milliseconds(100)), Duration(seconds(10))}) {
    for (int i = 0; i < 4; ++i) Beat(true, period / 20, period);
    EXPECT_EQ(role(), Beats::Role::kLeads);
    for (int i = 0; i < 6; ++i) Beat(false, period / 20, period);
    EXPECT_EQ(role(), Beats::Role::kFollows);
  }
}

TEST_F(BeatsTest, ASlowAnswerNowAndThenChangesNothing) {
  for (int i = 0; i < 20; ++i)
    Beat(true, i % 5 == 4 ? milliseconds(900) : milliseconds(5), seconds(1));
  EXPECT_EQ(role(), Beats::Role::kLeads);
}

TEST_F(BeatsTest, NobodyBeginsBeforeTheFirstTurnIsOver) {
  EXPECT_EQ(role(), Beats::Role::kNone);
  beats.OnPayload(fellow, true, now);
  EXPECT_EQ(role(), Beats::Role::kNone);
}

TEST_F(BeatsTest, PacketsOfOneDirectionAreBeatsWithoutAnswers) {
  for (int i = 0; i < Beats::kPacketsMin; ++i) beats.OnPayload(fellow, false, now += seconds(1));
  EXPECT_EQ(role(), Beats::Role::kLeadsUnanswered);
  for (int i = 0; i < Beats::kPacketsMin; ++i) beats.OnPayload(fellow, true, now += seconds(1));
  EXPECT_EQ(role(), Beats::Role::kFollows);
}

// Spark's workers report to its master every 15 s, which does not answer that; what they
// say of executors it does.
TEST_F(BeatsTest, WhoTalksMayHaveBeatsWithoutAnAnswer) {
  for (int i = 0; i < 10; ++i) Beat(true, milliseconds(4), milliseconds(200));
  EXPECT_EQ(role(), Beats::Role::kLeads);
  const auto report = [this] {
    beats.OnPayload(fellow, false, now);
    beats.OnPayload(fellow, false, now + milliseconds(1));
  };
  report();
  EXPECT_EQ(role(), Beats::Role::kLeads);
  now += seconds(15);
  report();
  EXPECT_EQ(role(), Beats::Role::kLeadsUnanswered);
  // What they talk about between reports changes nothing.
  now += seconds(5);
  for (int i = 0; i < 10; ++i) Beat(true, milliseconds(4), milliseconds(200));
  EXPECT_EQ(role(), Beats::Role::kLeadsUnanswered);
  // A report that is answered does.
  now += seconds(15);
  report();
  beats.OnPayload(fellow, true, now + milliseconds(5));
  EXPECT_EQ(role(), Beats::Role::kLeads);
}

TEST_F(BeatsTest, WhoReportsAgainBeginsWhoeverBeganTheTalk) {
  for (int i = 0; i < 2; ++i) Beat(false, milliseconds(4), milliseconds(200));
  EXPECT_EQ(role(), Beats::Role::kFollows);
  for (int i = 0; i < 4; ++i) beats.OnPayload(fellow, false, now += seconds(15));
  EXPECT_EQ(role(), Beats::Role::kLeadsUnanswered);
}

TEST_F(BeatsTest, TalkBetweenBeatsDoesNotForgetHowFarApartTheyAre) {
  for (int i = 0; i < 4; ++i) beats.OnPayload(fellow, true, now += seconds(15));
  for (int i = 0; i < 100; ++i) {
    beats.OnPayload(fellow, true, now += milliseconds(100));
    beats.OnPayload(fellow, false, now + milliseconds(4));
  }
  now += seconds(14);
  EXPECT_EQ(role(), Beats::Role::kFollows);
  now += seconds(35);
  EXPECT_EQ(role(), Beats::Role::kNone);
}

TEST_F(BeatsTest, AnswersThatAreLateDoNotMakeItOneWay) {
  for (int i = 0; i < 4; ++i) Beat(true, milliseconds(5), milliseconds(150));
  for (int i = 0; i < 12; ++i) beats.OnPayload(fellow, false, now += milliseconds(150));
  EXPECT_EQ(role(), Beats::Role::kLeads);
  for (int i = 0; i < 60; ++i) beats.OnPayload(fellow, false, now += milliseconds(150));
  EXPECT_EQ(role(), Beats::Role::kLeadsUnanswered);
}

TEST_F(BeatsTest, APairThatFellSilentIsForgotten) {
  for (int i = 0; i < 4; ++i) Beat(true, milliseconds(5), seconds(1));
  now += seconds(3);
  EXPECT_EQ(role(), Beats::Role::kNone);
  Beat(true, milliseconds(5), seconds(1));
  EXPECT_EQ(role(), Beats::Role::kLeads);
}

// Seed 1329 of the cluster simulation: a group that was awake for moments only
// went on to wait for beats of a pair that had spoken once.
TEST_F(BeatsTest, SilenceGoesOnAfterAPause) {
  for (int i = 0; i < 4; ++i) Beat(true, milliseconds(5), seconds(1));
  for (int i = 0; i < 2; ++i) {
    now += seconds(3);
    beats.OnPause(now);
    beats.OnThaw(now += seconds(40));
  }
  EXPECT_EQ(role(), Beats::Role::kNone);
}

TEST_F(BeatsTest, APauseIsNoSilence) {
  for (int i = 0; i < 4; ++i) Beat(true, milliseconds(5), seconds(1));
  beats.OnPause(now);
  now += seconds(600);
  beats.OnThaw(now);
  EXPECT_EQ(role(), Beats::Role::kLeads);
  // The answer to the beat before the pause says nothing about who begins.
  beats.OnPayload(fellow, true, now + milliseconds(3));
  beats.OnPayload(fellow, false, now + milliseconds(4));
  EXPECT_EQ(role(), Beats::Role::kLeads);
  EXPECT_LT(beats.NextBeatWithin({fellow}), seconds(5));
}

TEST_F(BeatsTest, FellowsOfARoleComeInOrder) {
  const IpAddress other = IpAddress::V4(0x0a4d0002);
  for (int i = 0; i < 4; ++i) {
    beats.OnPayload(other, false, now);
    beats.OnPayload(other, true, now + milliseconds(1));
    Beat(true, milliseconds(5), seconds(1));
  }
  EXPECT_EQ(beats.Fellows({Beats::Role::kLeads}, now), (std::vector<IpAddress>{other, fellow}));
  EXPECT_TRUE(beats.Fellows({Beats::Role::kFollows}, now).empty());
  beats.Forget(other);
  EXPECT_EQ(beats.Fellows({Beats::Role::kLeads}, now), (std::vector<IpAddress>{fellow}));
}

}  // namespace
}  // namespace im::agent
