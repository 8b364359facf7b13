// Checkpointed and Restoring: who is woken by what, and what failures leave.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "orchestrator/activator.h"
#include "orchestrator/activator_fixture.h"

namespace im::orchestrator {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Verdict = Activator::Verdict;
using State = Activator::Report::State;
using EndKind = Activator::End::Kind;

class ActivatorCheckpointTest : public ActivatorFixture {
 protected:
  static std::vector<uint8_t> Segment(HostId to, uint8_t flags) {
    return Tcp(200, 1, to, 6379, flags, 1);
  }
  void EndOnDisk(HostId host, std::optional<Duration> timer_in = std::nullopt) {
    activator->OnInstanceEnded(
        host, table[host].incarnation,
        {.kind = EndKind::kCheckpointed, .message = "checkpointed", .timer_in = timer_in}, now);
  }
  // A restore that was not begun.
  void EndUntouched(HostId host) {
    activator->OnInstanceEnded(
        host, table[host].incarnation,
        {.kind = EndKind::kFailed, .message = "no sandbox", .checkpoint_kept = true}, now);
  }
  HostId Checkpointed(HostPolicy policy = {}, std::optional<Duration> timer_in = std::nullopt) {
    const HostId db = Add("db", policy);
    Bring(db, HostState::kReleasing);
    EndOnDisk(db, timer_in);
    EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > checkpointed"));
    return db;
  }
  HostId Restoring() {
    const HostId db = Checkpointed();
    SendSyn(db);
    EXPECT_EQ(table[db].state, HostState::kRestoring);
    recorder.Take();
    return db;
  }
};

// ---- what wakes it ----------------------------------------------------------

TEST_F(ActivatorCheckpointTest, ASynRestores) {
  const HostId db = Checkpointed();
  Advance(hours(1));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  EXPECT_EQ(SendSyn(db), Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), ElementsAre("db checkpointed > restoring", "start db#2"));
  EXPECT_EQ(SendSyn(db, 2), Verdict::kHeld);
  Report(db, State::kRunning);
  EXPECT_THAT(recorder.Take(), ElementsAre("db restoring > running", "deliver db 2"));
  EXPECT_EQ(table[db].history->wake_kind, History::WakeKind::kRestore);
  EXPECT_EQ(activator->counters().restores, 1u);
}

TEST_F(ActivatorCheckpointTest, AllOfAConnectionRestores) {
  const uint8_t acknowledgment = kTcpAck, end = kTcpAck | kTcpFin, reset = kTcpRst;
  for (const uint8_t flags : {acknowledgment, end, reset}) {
    SCOPED_TRACE(static_cast<int>(flags));
    const HostId host = Add(absl::StrCat("h", flags));
    activator->AdoptCheckpoint(host, Duration(0), std::nullopt, now);
    EXPECT_EQ(Send(host, Segment(host, flags)), Verdict::kHeld);
    EXPECT_EQ(table[host].state, HostState::kRestoring);
    recorder.Take();
    Report(host, State::kRunning);
    EXPECT_EQ(recorder.Take().back(), absl::StrCat("deliver h", flags, " 1"));
  }
}

TEST_F(ActivatorCheckpointTest, ATimerOfItsProgramRestores) {
  const HostId db = Checkpointed({}, minutes(3));
  EXPECT_EQ(activator->outlook(db, now).timer_at, now + minutes(3));
  Advance(minutes(3) - seconds(1));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Advance(seconds(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("db checkpointed > restoring", "start db#2"));
  EXPECT_EQ(table[db].history->cause.kind, Cause::Kind::kTimer);
}

TEST_F(ActivatorCheckpointTest, AWakeDuringTheDumpRestoresAtOnce) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  SendSyn(db);
  Report(db, State::kReleasing, /*acknowledged=*/true);
  recorder.Take();
  EndOnDisk(db);
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > checkpointed",
                                           "db checkpointed > restoring", "start db#2"));
}

TEST_F(ActivatorCheckpointTest, AnAcknowledgmentThatCameDuringTheDumpIsDelivered) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  EXPECT_EQ(Send(db, Segment(db, kTcpAck)), Verdict::kHeld);
  EndOnDisk(db);
  Report(db, State::kRunning);
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db releasing > checkpointed", "db checkpointed > restoring",
                          "start db#2", "db restoring > running", "deliver db 1"));
}

TEST_F(ActivatorCheckpointTest, ADumpThatFailedLeavesItRunning) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  Report(db, State::kReleaseRefused, /*acknowledged=*/true);
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > running"));
}

// ---- restores that fail -----------------------------------------------------

TEST_F(ActivatorCheckpointTest, AFailedRestoreRefusesWhoWaitsAndSaysWhatIsLost) {
  const HostId db = Restoring();
  End(db, EndKind::kFailed, "criu: no such pid");
  const std::string reason =
      "restore failed: criu: no such pid; what was in its memory is lost";
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db restoring > imaginary", "refuse db 1 over: " + reason));
  EXPECT_EQ(table[db].history->last_error, reason);
  // The next one starts anew.
  Advance(minutes(1));
  SendSyn(db);
  EXPECT_EQ(table[db].state, HostState::kStarting);
}

TEST_F(ActivatorCheckpointTest, ARestoreThatWasNotBegunLeavesTheCheckpoint) {
  const HostId db = Restoring();
  EndUntouched(db);
  EXPECT_THAT(recorder.Take(), ElementsAre("db restoring > checkpointed",
                                           "refuse db 1 over: restore failed: no sandbox"));
  Advance(minutes(1));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  SendSyn(db, 2);
  EXPECT_THAT(recorder.Take(), ElementsAre("db checkpointed > restoring", "start db#3"));
}

TEST_F(ActivatorCheckpointTest, ARestoreThatTakesTooLongIsKilledAndRefused) {
  const HostId db = Restoring();
  Advance(seconds(30));
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db restoring > releasing", "goal db#2 kill",
                          "refuse db 1 over: restore timed out after 30s"));
  EndUntouched(db);
  EXPECT_EQ(table[db].state, HostState::kCheckpointed);
}

TEST_F(ActivatorCheckpointTest, ATimerThatIsDueIsTriedAgainUntilItRuns) {
  const HostId db = Checkpointed({}, minutes(3));
  Advance(minutes(3));
  for (int tries = 0; tries < 4; ++tries) {
    ASSERT_EQ(table[db].state, HostState::kRestoring);
    activator->OnInstanceEnded(db, table[db].incarnation,
                               {.kind = EndKind::kFailed,
                                .message = "no sandbox",
                                .timer_in = Duration(0),
                                .checkpoint_kept = true},
                               now);
    // At once, or when the back-off ends.
    if (table[db].state == HostState::kCheckpointed) Advance(activator->NextDeadline() - now);
  }
  EXPECT_EQ(table[db].state, HostState::kRestoring);
}

// ---- its end ----------------------------------------------------------------

TEST_F(ActivatorCheckpointTest, ItExpires) {
  const HostId db = Checkpointed({.checkpoint_expires = hours(24)});
  EXPECT_EQ(activator->outlook(db, now).expires_at, now + hours(24));
  Advance(hours(24));
  EXPECT_THAT(recorder.Take(), ElementsAre("db checkpointed > imaginary"));
  EXPECT_EQ(recorder.last.reason, "its checkpoint expired after 24h");
  EXPECT_EQ(activator->active(), 0u);
}

TEST_F(ActivatorCheckpointTest, ATryThatFailedDoesNotMakeItYounger) {
  const HostId db = Checkpointed({.checkpoint_expires = hours(24)});
  Advance(hours(23));
  SendSyn(db);
  EndUntouched(db);
  recorder.Take();
  Advance(hours(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("db checkpointed > imaginary"));
}

TEST_F(ActivatorCheckpointTest, AUserReleasesIt) {
  const HostId db = Checkpointed();
  EXPECT_TRUE(activator->Release(db, "im release", now).ok());
  EXPECT_THAT(recorder.Take(), ElementsAre("db checkpointed > imaginary"));
  EXPECT_EQ(activator->active(), 0u);
}

TEST_F(ActivatorCheckpointTest, AReleaseByAUserDuringTheDumpOrTheRestoreKeepsNothing) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  EXPECT_TRUE(activator->Release(db, "im release", now).ok());
  EndOnDisk(db);
  EXPECT_EQ(table[db].state, HostState::kImaginary);

  const HostId other = Add("other");
  Bring(other, HostState::kReleasing);
  EndOnDisk(other);
  SendSyn(other);
  EXPECT_TRUE(activator->Release(other, "im release", now).ok());
  EXPECT_EQ(table[other].state, HostState::kReleasing);
  EndUntouched(other);
  EXPECT_EQ(table[other].state, HostState::kImaginary);
}

TEST_F(ActivatorCheckpointTest, AShutdownForgetsIt) {
  Checkpointed();
  activator->Shutdown("im down", /*force=*/false, now);
  EXPECT_THAT(recorder.Take(), ElementsAre("db checkpointed > imaginary"));
  EXPECT_TRUE(activator->all_ended());
}

// ---- a restarted orchestrator -----------------------------------------------

TEST_F(ActivatorCheckpointTest, ItIsTakenBackWithItsAgeAndItsTimer) {
  const HostId db = Add("db", {.checkpoint_expires = hours(24)});
  activator->AdoptCheckpoint(db, hours(20), minutes(5), now);
  EXPECT_THAT(recorder.Take(), ElementsAre("db imaginary > checkpointed"));
  EXPECT_EQ(activator->outlook(db, now).timer_at, now + minutes(5));
  EXPECT_EQ(activator->outlook(db, now).expires_at, now + hours(4));
  EXPECT_EQ(SendSyn(db), Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), ElementsAre("db checkpointed > restoring", "start db#1"));
}

TEST_F(ActivatorCheckpointTest, AFellowsWakeRestoresIt) {
  const HostId a = Add("a");
  const HostId b = Add("b");
  table.AddGroup("g", {a, b});
  activator->AdoptCheckpoint(a, Duration(0), std::nullopt, now);
  activator->AdoptCheckpoint(b, Duration(0), std::nullopt, now);
  recorder.Take();
  SendSyn(a);
  EXPECT_THAT(recorder.Take(), ElementsAre("a checkpointed > restoring", "start a#1",
                                           "b checkpointed > restoring", "start b#2"));
}

// ---- who goes to disk -------------------------------------------------------

TEST_F(ActivatorCheckpointTest, ADumpThatFailedIsSaidAndTheHostStaysPaused) {
  const HostId db = Add("db", {.to_disk = true});
  Bring(db, HostState::kReleasing);
  Activator::Report report{.state = State::kPaused, .goal_acknowledged = true};
  // It has heard of it, and is at it.
  activator->OnInstanceStatus(db, 1, report, now);
  EXPECT_THAT(recorder.Take(), IsEmpty());
  report.not_checkpointed = "CRIU: no space left";
  activator->OnInstanceStatus(db, 1, report, now);
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > running", "db running > paused"));
  EXPECT_EQ(table[db].history->last_error, "not checkpointed: CRIU: no space left");
  // And is tried again.
  Advance(*table.policy(db).release_after);
  EXPECT_THAT(recorder.Take(), ElementsAre("db paused > releasing", "goal db#1 release if idle"));
}

TEST_F(ActivatorCheckpointTest, ATimerIsNoReasonToStayUnlessItIsNear) {
  const HostPolicy policy{.release_after = minutes(1), .to_disk = true};
  const HostId far = Add("far", policy), near = Add("near", policy);
  for (const HostId host : {far, near}) Bring(host, HostState::kRunning);
  const auto pause = [&](HostId host, Duration timer_in) {
    activator->OnInstanceStatus(host, table[host].incarnation,
                                {.state = State::kPaused, .timer_in = timer_in}, now);
  };
  pause(far, minutes(1) + seconds(10));
  pause(near, minutes(1) + seconds(9));
  recorder.Take();
  Advance(minutes(1));
  EXPECT_EQ(table[far].state, HostState::kReleasing);
  EXPECT_EQ(table[near].state, HostState::kPaused);
}

TEST_F(ActivatorCheckpointTest, PacketsInTheCheckpointRestoreAtOnce) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  activator->OnInstanceEnded(db, 1, {.kind = EndKind::kCheckpointed, .restore_at_once = true}, now);
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > checkpointed",
                                           "db checkpointed > restoring", "start db#2"));
}

TEST_F(ActivatorCheckpointTest, AnInstanceThatWasTakenBackOnItsWayToDiskIsThere) {
  const HostId db = Add("db", {.to_disk = true});
  activator->Adopt(db, 7, Cause(), now);
  recorder.Take();
  // Killed when it was done: it could not say so.
  activator->OnInstanceEnded(db, 7, {.kind = EndKind::kFailed, .checkpoint_kept = true}, now);
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db starting > releasing", "db releasing > checkpointed"));
}

TEST_F(ActivatorCheckpointTest, WhoIsTakenBackOnItsWayToDiskIsGivenTheTimeForIt) {
  const HostId db = Add("db", {.stop_timeout = minutes(2), .to_disk = true});
  activator->Adopt(db, 7, Cause(), now);
  Report(db, State::kReleasing);
  Report(db, State::kReleasing);
  Advance(seconds(100));
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db imaginary > starting", "db starting > releasing"));
  EndOnDisk(db);
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > checkpointed"));
}

TEST_F(ActivatorCheckpointTest, WhoWantsAnInstanceThatIsTakenBackOnItsWayOutGetsTheNext) {
  for (const bool packet : {true, false}) {
    const HostId db = Add(packet ? "a" : "b", {.to_disk = true});
    activator->Adopt(db, activator->next_incarnation(), Cause(), now);
    if (packet) {
      SendSyn(db);
    } else {
      EXPECT_TRUE(activator->Wake(db, MakeCause(Cause::Kind::kUser), now).ok());
    }
    Report(db, State::kReleasing);
    End(db, EndKind::kReleased, "");
    EXPECT_EQ(table[db].state, HostState::kStarting);
    Report(db, State::kRunning);
    EXPECT_EQ(table[db].state, HostState::kRunning);
    EXPECT_EQ(activator->held().packets(), 0u);
  }
}

TEST_F(ActivatorCheckpointTest, WhoWantsAnInstanceThatWasSilentOnItsWayToDiskGetsTheNext) {
  const HostId db = Add("db", {.to_disk = true});
  activator->Adopt(db, 7, Cause(), now);
  EXPECT_TRUE(activator->Wake(db, MakeCause(Cause::Kind::kUser), now).ok());
  recorder.Take();
  EndOnDisk(db);
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db starting > releasing", "db releasing > checkpointed",
                          "db checkpointed > restoring", "start db#8"));
}

TEST_F(ActivatorCheckpointTest, WhoIsTakenBackAndDoesNotGoAfterAllRuns) {
  const HostId db = Add("db", {.to_disk = true});
  activator->Adopt(db, 7, Cause(), now);
  Report(db, State::kReleasing);
  Report(db, State::kPaused, /*acknowledged=*/true);
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db imaginary > starting", "db starting > releasing",
                          "db releasing > running", "db running > paused"));
}

TEST_F(ActivatorCheckpointTest, AHostThatIsOnDiskIsThereWhateverWasKnownOfIt) {
  const HostId db = Add("db", {.to_disk = true});
  Bring(db, HostState::kPaused);
  EndOnDisk(db);
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db paused > releasing", "db releasing > checkpointed"));
}

TEST_F(ActivatorCheckpointTest, AWakeDuringTheDumpDoesNotCallItOff) {
  const HostId db = Add("db", {.to_disk = true});
  Bring(db, HostState::kReleasing);
  SendSyn(db);
  Report(db, State::kReleasing, /*acknowledged=*/true);
  EXPECT_EQ(table[db].state, HostState::kReleasing);
  recorder.Take();
  EndOnDisk(db);
  Report(db, State::kRunning);
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db releasing > checkpointed", "db checkpointed > restoring",
                          "start db#2", "db restoring > running", "deliver db 1"));
}

// ---- max_lifetime -----------------------------------------------------------

TEST_F(ActivatorCheckpointTest, WhoHasLivedLongEnoughMovesInTheMiddleOfItsWork) {
  const HostId db = Add("db", {.to_disk = true, .max_lifetime = hours(1)});
  Bring(db, HostState::kRunning);
  Advance(minutes(59));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Advance(minutes(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("db running > releasing", "goal db#1 move"));
  // A packet does not call it off.
  EXPECT_EQ(SendSyn(db), Verdict::kHeld);
  Report(db, State::kReleasing, /*acknowledged=*/true);
  EXPECT_THAT(recorder.Take(), IsEmpty());
  activator->OnInstanceEnded(db, 1, {.kind = EndKind::kCheckpointed, .restore_at_once = true}, now);
  Report(db, State::kRunning);
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db releasing > checkpointed", "db checkpointed > restoring",
                          "start db#2", "db restoring > running", "deliver db 1"));
  // The new one lives as long.
  Advance(hours(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("db running > releasing", "goal db#2 move"));
}

TEST_F(ActivatorCheckpointTest, AMoveThatNobodyWaitsForEndsWithTheHostUp) {
  Activator::Limits limits;
  limits.starting_max = 1;
  Make(limits);
  const HostId db = Add("db", {.to_disk = true, .max_lifetime = hours(1)});
  Bring(db, HostState::kRunning);
  Advance(hours(1));
  const HostId other = Add("other", {.start_timeout = minutes(10)});
  Bring(other, HostState::kStarting);
  // No slot is free for a long time.
  activator->OnInstanceEnded(db, 1, {.kind = EndKind::kCheckpointed, .restore_at_once = true}, now);
  Advance(minutes(5));
  EXPECT_EQ(table[db].state, HostState::kCheckpointed);
  Report(other, State::kRunning);
  EXPECT_EQ(table[db].state, HostState::kRestoring);
}

TEST_F(ActivatorCheckpointTest, AMoveThatIsRefusedIsTriedAgain) {
  const HostId db = Add("db", {.to_disk = true, .max_lifetime = hours(1)});
  Bring(db, HostState::kRunning);
  Advance(hours(1));
  recorder.Take();
  Report(db, State::kReleaseRefused, /*acknowledged=*/true);
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > running"));
  Advance(seconds(59));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Advance(seconds(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("db running > releasing", "goal db#1 move"));
}

TEST_F(ActivatorCheckpointTest, WhoIsTakenBackIsAsOldAsItWas) {
  const HostId db = Add("db", {.to_disk = true, .max_lifetime = hours(1)});
  activator->Adopt(db, 7, Cause(), now, minutes(50));
  Advance(seconds(1));
  Report(db, State::kRunning);
  recorder.Take();
  Advance(minutes(10) - seconds(2));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Advance(seconds(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("db running > releasing", "goal db#7 move"));
}

TEST_F(ActivatorCheckpointTest, AMoveWithoutAnAnswerIsCalledOff) {
  const HostId db = Add("db", {.stop_timeout = minutes(2), .to_disk = true, .max_lifetime = hours(1)});
  Bring(db, HostState::kRunning);
  Advance(hours(1));
  Advance(minutes(2));
  EXPECT_EQ(recorder.Take().back(), "goal db#1 run");
  Report(db, State::kRunning, /*acknowledged=*/true);
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > running"));
}

TEST_F(ActivatorCheckpointTest, WhoSleepsWhenItsTimeIsOverStaysOnDisk) {
  const HostId db = Add("db", {.release_after = hours(2), .to_disk = true, .max_lifetime = hours(1)});
  Bring(db, HostState::kPaused);
  Advance(hours(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("db paused > releasing", "goal db#1 release if idle"));
  EndOnDisk(db);
  Advance(hours(5));
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > checkpointed"));
}

TEST_F(ActivatorCheckpointTest, AHostIsReleasedOnRequestWhileItMoves) {
  const HostId db = Add("db", {.to_disk = true, .max_lifetime = hours(1)});
  Bring(db, HostState::kRunning);
  Advance(hours(1));
  recorder.Take();
  EXPECT_TRUE(activator->Release(db, "im release", now).ok());
  EXPECT_THAT(recorder.Take(), ElementsAre("goal db#1 release"));
  EndOnDisk(db);
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > imaginary"));
}

TEST_F(ActivatorCheckpointTest, WhatIsLostOnTheWayToDiskIsAnError) {
  const HostId db = Add("db", {.to_disk = true});
  Bring(db, HostState::kReleasing);
  activator->OnInstanceEnded(db, 1, {.kind = EndKind::kFailed, .message = "im-agent was killed"},
                             now);
  EXPECT_EQ(table[db].state, HostState::kImaginary);
  EXPECT_EQ(table[db].history->last_error, "im-agent was killed");
}

}  // namespace
}  // namespace im::orchestrator
