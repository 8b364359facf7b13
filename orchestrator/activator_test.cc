// Wakes: of a cold host, by whatever packets, when starts fail, when there are
// many.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "orchestrator/activator.h"
#include "orchestrator/activator_fixture.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Goal = Activator::Goal;
using Verdict = Activator::Verdict;
using State = Activator::Report::State;
using EndKind = Activator::End::Kind;

class ActivatorTest : public ActivatorFixture {};

// ---- the usual way ----------------------------------------------------------

TEST_F(ActivatorTest, AColdHostIsStartedByItsFirstPacketWhichIsDelivered) {
  const HostId db = Add("db");
  EXPECT_EQ(SendSyn(db), Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), ElementsAre("db imaginary > starting", "start db#1"));
  Advance(milliseconds(4));
  Report(db, State::kRunning);
  EXPECT_THAT(recorder.Take(), ElementsAre("db starting > running", "deliver db 1"));
  EXPECT_EQ(recorder.last.duration, milliseconds(4));
  EXPECT_EQ(recorder.last.cause.kind, Cause::Kind::kSyn);
  EXPECT_EQ(SendSyn(db, 2), Verdict::kForward);
  EXPECT_THAT(recorder.Take(), IsEmpty());
}

TEST_F(ActivatorTest, OneStartForAllThePacketsOfAHost) {
  const HostId db = Add("db");
  for (uint16_t port = 1; port <= 50; ++port)
    for (int copy = 0; copy < 3; ++copy) EXPECT_EQ(SendSyn(db, port), Verdict::kHeld);
  ASSERT_TRUE(activator->Wake(db, MakeCause(Cause::Kind::kUser), now).ok());
  EXPECT_THAT(recorder.Take(), ElementsAre("db imaginary > starting", "start db#1"));
  EXPECT_EQ(activator->counters().duplicates, 100u);
  Report(db, State::kRunning);
  EXPECT_THAT(recorder.Take(), ElementsAre("db starting > running", "deliver db 50"));
}

TEST_F(ActivatorTest, APausedHostIsForwardedToAndThawsByItself) {
  const HostId db = Add("db");
  Bring(db, HostState::kPaused);
  EXPECT_EQ(SendSyn(db), Verdict::kForward);
  Report(db, State::kRunning, false, 1);
  EXPECT_THAT(recorder.Take(), ElementsAre("db paused > running"));
  EXPECT_EQ(recorder.last.duration, std::chrono::microseconds(200));
  EXPECT_EQ(recorder.last.cause.kind, Cause::Kind::kPing);
  EXPECT_EQ(table[db].history->thaws, 1u);
  EXPECT_EQ(table[db].history->wake_kind, History::WakeKind::kThaw);
}

TEST_F(ActivatorTest, AnIdleHostIsReleasedAndStartsAnew) {
  const HostId db = Add("db");
  Bring(db, HostState::kPaused);
  EXPECT_EQ(activator->outlook(db, now).release_at, now + minutes(10));
  Advance(minutes(10));
  EXPECT_THAT(recorder.Take(), ElementsAre("db paused > releasing", "goal db#1 release if idle"));
  End(db, EndKind::kReleased, "released");
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > imaginary"));
  EXPECT_EQ(activator->active(), 0u);
  EXPECT_EQ(activator->NextDeadline(), kNever);
  SendSyn(db);
  EXPECT_THAT(recorder.Take(), ElementsAre("db imaginary > starting", "start db#2"));
}

TEST_F(ActivatorTest, AThawBetweenTwoReportsPutsTheReleaseOff) {
  const HostId db = Add("db");
  Bring(db, HostState::kPaused);
  Advance(minutes(9));
  Report(db, State::kPaused);  // repeated: nothing new
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Report(db, State::kPaused, false, 1);
  EXPECT_THAT(recorder.Take(), ElementsAre("db paused > running", "db running > paused"));
  Advance(minutes(9));
  EXPECT_EQ(table[db].state, HostState::kPaused);
  Advance(minutes(1));
  EXPECT_EQ(table[db].state, HostState::kReleasing);
}

TEST_F(ActivatorTest, AThawThatWasNoUseDoesNotPutTheReleaseOff) {
  const HostId db = Add("db");
  Bring(db, HostState::kPaused);
  Advance(minutes(4));
  Report(db, State::kRunning, false, 1);
  activator->OnInstanceStatus(
      db, 1, {.state = State::kPaused, .thaws = 1, .paused_for = minutes(4)}, now);
  EXPECT_EQ(activator->outlook(db, now).release_at, now + minutes(6));
  // It is due already.
  activator->OnInstanceStatus(
      db, 1, {.state = State::kPaused, .thaws = 2, .paused_for = minutes(11)}, now);
  EXPECT_EQ(activator->outlook(db, now).release_at, now);
}

TEST_F(ActivatorTest, WithoutReleaseAfterAPausedHostStays) {
  const HostId db = Add("db", {.release_after = std::nullopt});
  Bring(db, HostState::kPaused);
  EXPECT_EQ(activator->NextDeadline(), kNever);
}

// ---- packets that are no reason ---------------------------------------------

TEST_F(ActivatorTest, LeftoversOfOldConnectionsWakeNobody) {
  const HostId db = Add("db");
  EXPECT_EQ(Send(db, Tcp(200, 1, db, 6379, kTcpRst, 5)), Verdict::kDropped);
  EXPECT_THAT(recorder.Take(), IsEmpty());
  EXPECT_EQ(Send(db, Tcp(200, 1, db, 6379, kTcpAck, 5)), Verdict::kRefused);
  EXPECT_EQ(Send(db, Tcp(200, 1, db, 6379, kTcpFin | kTcpAck, 5)), Verdict::kRefused);
  EXPECT_THAT(recorder.Take(), ElementsAre("refuse db 1: the connection is gone",
                                           "refuse db 1: the connection is gone"));
  EXPECT_EQ(table[db].state, HostState::kImaginary);
  EXPECT_EQ(Send(db, Tcp(200, 1, db, 6379, kTcpAck | kTcpPsh, 5, 20)), Verdict::kHeld);
  EXPECT_EQ(table[db].state, HostState::kStarting);
}

TEST_F(ActivatorTest, DatagramsAndPingsWake) {
  const HostId a = Add("a"), b = Add("b");
  EXPECT_EQ(Send(a, Udp(7, a)), Verdict::kHeld);
  EXPECT_EQ(table[a].history->cause.kind, Cause::Kind::kDatagram);
  EXPECT_EQ(Send(b, BuildEchoRequest(TestAddress(200), TestAddress(b), 1, 1)), Verdict::kHeld);
  EXPECT_EQ(table[b].history->cause.kind, Cause::Kind::kPing);
}

// ---- failures ---------------------------------------------------------------

TEST_F(ActivatorTest, AFailedStartRefusesWithItsReason) {
  const HostId db = Add("db");
  SendSyn(db, 1);
  SendSyn(db, 2);
  recorder.Take();
  End(db, EndKind::kFailed, "exec nginxx: No such file or directory");
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db starting > imaginary",
                          "refuse db 2 over: start failed: "
                          "exec nginxx: No such file or directory"));
  EXPECT_EQ(table[db].history->last_error, "start failed: exec nginxx: No such file or directory");
}

TEST_F(ActivatorTest, AStartThatTimesOutIsKilledAndOnlyThenTriedAgain) {
  const HostId db = Add("db");
  SendSyn(db);
  recorder.Take();
  Advance(seconds(30));
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db starting > releasing", "goal db#1 kill",
                          "refuse db 1 over: start timed out after 30s"));
  EXPECT_EQ(SendSyn(db, 2), Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), IsEmpty());  // the old instance may still live
  Advance(seconds(3));
  EXPECT_THAT(recorder.Take(), ElementsAre("goal db#1 kill", "goal db#1 kill"));
  End(db, EndKind::kFailed, "killed");
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > imaginary", "db imaginary > starting",
                                           "start db#2"));
  Report(db, State::kRunning);
  EXPECT_THAT(recorder.Take(), ElementsAre("db starting > running", "deliver db 1"));
}

TEST_F(ActivatorTest, AnInstanceThatCannotBeKilledDoesNotKeepItsCallersWaiting) {
  const HostId db = Add("db");
  SendSyn(db);
  Advance(seconds(30));
  SendSyn(db, 2);
  recorder.Take();
  Advance(seconds(30));
  EXPECT_THAT(recorder.Take(),
              ::testing::Contains(
                  "refuse db 1 over: its last instance has not ended within 30s"));
  EXPECT_FALSE(activator->held().Has(db));
}

TEST_F(ActivatorTest, BacksOffAfterFailures) {
  const HostId db = Add("db");
  SendSyn(db);
  End(db, EndKind::kFailed, "boom");
  SendSyn(db);  // the first failure costs nothing
  EXPECT_EQ(table[db].state, HostState::kStarting);
  End(db, EndKind::kFailed, "boom");
  recorder.Take();
  EXPECT_EQ(SendSyn(db), Verdict::kHeld);  // until the back-off's end
  EXPECT_THAT(recorder.Take(), IsEmpty());
  EXPECT_EQ(activator->outlook(db, now).retry_at, now + milliseconds(500));
  EXPECT_TRUE(activator->outlook(db, now).wake_waits);
  Advance(milliseconds(499));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Advance(milliseconds(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("db imaginary > starting", "start db#3"));
  Report(db, State::kRunning);
  EXPECT_THAT(recorder.Take(), ElementsAre("db starting > running", "deliver db 1"));
}

TEST_F(ActivatorTest, ABackOffThatOutlastsThePacketsBoundRefusesAtOnce) {
  Make({.backoff = {.first = seconds(1)}});
  const HostId db = Add("db", {.start_timeout = seconds(2)});
  for (int failures = 1; failures <= 3; ++failures) {
    SendSyn(db);
    if (failures == 3) Advance(seconds(1));
    End(db, EndKind::kFailed, "boom");
  }
  recorder.Take();
  EXPECT_EQ(SendSyn(db), Verdict::kRefused);
  ASSERT_EQ(recorder.calls.size(), 1u);
  EXPECT_EQ(recorder.calls[0],
            "refuse db 1: backing off 2s after 3 failures: start failed: boom");
  const absl::Status status = activator->Wake(db, MakeCause(Cause::Kind::kExec), now);
  EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
  recorder.Take();
  // A user does not wait.
  EXPECT_TRUE(activator->Wake(db, MakeCause(Cause::Kind::kUser), now).ok());
  EXPECT_EQ(table[db].state, HostState::kStarting);
}

TEST_F(ActivatorTest, FailuresAreForgottenInTime) {
  const HostId db = Add("db");
  SendSyn(db);
  End(db, EndKind::kFailed, "boom");
  EXPECT_EQ(activator->outlook(db, now).failures, 1u);
  EXPECT_EQ(activator->active(), 1u);
  Advance(minutes(5));
  EXPECT_EQ(activator->outlook(db, now).failures, 0u);
  EXPECT_EQ(activator->active(), 0u);
}

TEST_F(ActivatorTest, AProgramThatEndsAtOnceBacksOffEvenWithExitCodeZero) {
  const HostId db = Add("db");
  for (int i = 0; i < 2; ++i) {
    SendSyn(db);
    Report(db, State::kRunning);
    End(db, EndKind::kExited, "exited with code 0");
  }
  EXPECT_EQ(activator->outlook(db, now).failures, 2u);
  EXPECT_EQ(SendSyn(db), Verdict::kHeld);
  EXPECT_EQ(table[db].state, HostState::kImaginary);
}

TEST_F(ActivatorTest, AHostThatRanLongAndIsKilledStartsOnTheNextPacketAtOnce) {
  const HostId db = Add("db");
  SendSyn(db);
  End(db, EndKind::kFailed, "boom");
  SendSyn(db);
  Report(db, State::kRunning);
  Advance(seconds(10));
  recorder.Take();
  End(db, EndKind::kFailed, "killed by SIGKILL");
  EXPECT_TRUE(recorder.last.error);
  EXPECT_EQ(activator->outlook(db, now).failures, 1u);
  SendSyn(db);
  EXPECT_EQ(table[db].state, HostState::kStarting);
}

TEST_F(ActivatorTest, RestartPolicies) {
  const HostId never = Add("never");
  const HostId failure = Add("failure", {.restart = HostPolicy::Restart::kOnFailure});
  const HostId always = Add("always", {.restart = HostPolicy::Restart::kAlways});
  for (const EndKind kind : {EndKind::kExited, EndKind::kFailed}) {
    for (const HostId host : {never, failure, always}) {
      if (table[host].state == HostState::kImaginary) SendSyn(host);
      Report(host, State::kRunning);
      Advance(seconds(10));
      End(host, kind, "ended");
    }
    EXPECT_EQ(table[never].state, HostState::kImaginary);
    EXPECT_EQ(table[failure].state == HostState::kStarting, kind == EndKind::kFailed);
    EXPECT_EQ(table[always].state, HostState::kStarting);
    EXPECT_EQ(table[always].history->cause.kind, Cause::Kind::kRestart);
  }
}

TEST_F(ActivatorTest, RestartsInARowAreLimited) {
  const HostId db =
      Add("db", {.restart = HostPolicy::Restart::kOnFailure, .restart_attempts_max = 3});
  SendSyn(db);
  int ends = 0;
  while (table[db].state == HostState::kStarting && ends < 10) {
    Report(db, State::kRunning);
    End(db, EndKind::kFailed, "crash");
    ++ends;
    Advance(seconds(20));
  }
  EXPECT_EQ(ends, 4);  // the first run and three restarts
  EXPECT_EQ(table[db].state, HostState::kImaginary);
}

TEST_F(ActivatorTest, WhoIsToBeStartedAgainIsSoThoughACallerGivesUp) {
  class Full final : public Activator::Admission {
   public:
    std::optional<std::string> Start(HostId, Instant) override {
      return full ? std::optional<std::string>("no memory") : std::nullopt;
    }
    bool full = false;
  } memory;
  activator->SetAdmission(&memory);
  const HostId db = Add("db", {.restart = HostPolicy::Restart::kOnFailure});
  SendSyn(db);
  Report(db, State::kRunning);
  memory.full = true;
  End(db, EndKind::kFailed, "crash");
  EXPECT_EQ(activator->ToStart().size(), 1u);
  SendSyn(db);
  recorder.Take();
  Advance(table.policy(db).start_timeout + seconds(1));
  EXPECT_THAT(recorder.Take(), Contains(HasSubstr("refuse db 1 over: ")));
  EXPECT_EQ(activator->ToStart().size(), 1u);
  memory.full = false;
  Advance(seconds(1));
  EXPECT_EQ(table[db].state, HostState::kStarting);
  EXPECT_TRUE(activator->ToStart().empty());
}

TEST_F(ActivatorTest, AReleaseIsTheEndOfAWaitToBeStartedAgain) {
  const HostId db = Add("db", {.restart = HostPolicy::Restart::kOnFailure});
  SendSyn(db);
  for (int i = 0; i < 2; ++i) {
    Report(db, State::kRunning);
    End(db, EndKind::kFailed, "crash");
  }
  EXPECT_EQ(activator->ToStart().size(), 1u);
  ASSERT_TRUE(activator->Release(db, "im release", now).ok());
  EXPECT_TRUE(activator->ToStart().empty());
  Advance(seconds(60));
  EXPECT_EQ(table[db].state, HostState::kImaginary);
}

// ---- many starts ------------------------------------------------------------

TEST_F(ActivatorTest, StartsBeyondTheCapQueueInOrder) {
  Make({.starting_max = 2});
  std::vector<HostId> hosts;
  for (const char* name : {"a", "b", "c", "d"}) hosts.push_back(Add(name));
  for (const HostId host : hosts) SendSyn(host);
  EXPECT_EQ(activator->starting(), 2u);
  EXPECT_EQ(table[hosts[2]].state, HostState::kImaginary);
  EXPECT_TRUE(activator->outlook(hosts[2], now).wake_waits);
  recorder.Take();
  Report(hosts[1], State::kRunning);
  EXPECT_THAT(recorder.Take(),
              ElementsAre("b starting > running", "deliver b 1", "c imaginary > starting",
                          "start c#3"));
  End(hosts[0], EndKind::kFailed, "boom");
  EXPECT_EQ(table[hosts[3]].state, HostState::kStarting);
}

TEST_F(ActivatorTest, AWakeThatGetsNoSlotIsRefusedInTime) {
  Make({.starting_max = 1});
  const HostId slow = Add("slow", {.start_timeout = minutes(5)});
  const HostId db = Add("db");
  SendSyn(slow);
  SendSyn(db);
  recorder.Take();
  Advance(seconds(30));
  EXPECT_THAT(recorder.Take(), ElementsAre("refuse db 1 over: no start slot was free within 30s"));
  EXPECT_EQ(activator->outlook(db, now).wake_waits, false);
  Report(slow, State::kRunning);
  EXPECT_EQ(table[db].state, HostState::kImaginary);
}

// A controller calls back from within its delegate's methods.
TEST(ActivatorReentrancy, AProviderMayFailAtOnce) {
  class Failing final : public Activator::Delegate {
   public:
    void StartInstance(HostId host, uint64_t incarnation, const Cause&) override {
      activator->OnInstanceEnded(host, incarnation, {EndKind::kFailed, "fork: Out of memory"}, now);
    }
    void SetGoal(HostId, uint64_t, Goal, const Cause&) override {}
    void Deliver(HostId, PacketBatch) override {}
    void Refuse(HostId, PacketBatch packets, absl::string_view reason, bool over) override {
      refused += packets.size();
      last_reason = std::string(reason);
      is_over = over;
    }
    void OnTransition(const Transition& t) override { states.push_back(t.to); }

    Activator* activator = nullptr;
    Instant now{seconds(5)};
    size_t refused = 0;
    std::string last_reason;
    bool is_over = false;
    std::vector<HostState> states;
  };
  HostTable table;
  Failing delegate;
  Activator activator(table, {}, 1, delegate);
  delegate.activator = &activator;
  const HostId db = *table.Add({.name = "db", .address = TestAddress(2)}, delegate.now);
  TestPacket syn(Syn(1, 2));
  EXPECT_EQ(activator.OnPacket(db, syn.packet(), syn.view(), delegate.now), Verdict::kHeld);
  EXPECT_THAT(delegate.states, ElementsAre(HostState::kStarting, HostState::kImaginary));
  EXPECT_EQ(delegate.refused, 1u);
  EXPECT_EQ(delegate.last_reason, "start failed: fork: Out of memory");
  EXPECT_TRUE(delegate.is_over);
}

}  // namespace
}  // namespace im::orchestrator
