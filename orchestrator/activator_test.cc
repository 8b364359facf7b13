#include "orchestrator/activator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "orchestrator/test_packets.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Goal = Activator::Goal;
using Verdict = Activator::Verdict;
using State = Activator::Report::State;
using EndKind = Activator::End::Kind;

// Writes down what it is told, as text.
class Recorder final : public Activator::Delegate {
 public:
  explicit Recorder(const HostTable& table) : table_(table) {}

  void StartInstance(HostId host, uint64_t incarnation, const Cause&) override {
    calls.push_back(absl::StrCat("start ", name(host), "#", incarnation));
  }
  void SetGoal(HostId host, uint64_t incarnation, Goal goal, const Cause&) override {
    calls.push_back(absl::StrCat("goal ", name(host), "#", incarnation, " ", Text(GoalName(goal))));
  }
  void Deliver(HostId host, PacketBatch packets) override {
    calls.push_back(absl::StrCat("deliver ", name(host), " ", packets.size()));
  }
  void Refuse(HostId host, PacketBatch packets, absl::string_view reason, bool over) override {
    calls.push_back(absl::StrCat("refuse ", name(host), " ", packets.size(), over ? " over: " : ": ",
                                 reason));
  }
  void OnTransition(const Transition& t) override {
    calls.push_back(absl::StrCat(name(t.host), " ", Text(HostStateName(t.from)), " > ",
                                 Text(HostStateName(t.to))));
    last = t;
  }

  std::vector<std::string> Take() { return std::exchange(calls, {}); }

  std::vector<std::string> calls;
  Transition last;

 private:
  static std::string Text(absl::string_view text) { return std::string(text); }
  std::string name(HostId host) const { return table_[host].name; }

  const HostTable& table_;
};

class ActivatorTest : public ::testing::Test {
 protected:
  ActivatorTest() { Make({}); }

  void Make(const Activator::Limits& limits) {
    activator = std::make_unique<Activator>(table, limits, 1, recorder);
  }
  HostId Add(const std::string& name, HostPolicy policy = {}, bool guest = false) {
    return *table.Add({.name = name,
                       .address = TestAddress(static_cast<uint32_t>(table.size()) + 2),
                       .policy = policy,
                       .guest = guest},
                      now);
  }
  Verdict Send(HostId host, const std::vector<uint8_t>& bytes) {
    TestPacket packet(bytes);
    return activator->OnPacket(host, packet.packet(), packet.view(), now);
  }
  Verdict SendSyn(HostId host, uint16_t port = 1, uint32_t isn = 1) {
    return Send(host, Syn(port, host, isn));
  }
  void Report(HostId host, State state, bool acknowledged = false, uint64_t thaws = 0) {
    activator->OnInstanceStatus(host, table[host].incarnation,
                                {.state = state,
                                 .goal_acknowledged = acknowledged,
                                 .cause = MakeCause(Cause::Kind::kPing),
                                 .thaw = std::chrono::microseconds(200),
                                 .thaws = thaws},
                                now);
  }
  void End(HostId host, EndKind kind, const std::string& message) {
    activator->OnInstanceEnded(host, table[host].incarnation, {kind, message}, now);
  }
  void Advance(Duration by) {
    const Instant end = now + by;
    while (activator->NextDeadline() <= end) {
      now = std::max(now, activator->NextDeadline());
      activator->OnTimer(now);
    }
    now = end;
  }
  // Brings the host into the state, and forgets the calls so far.
  void Bring(HostId host, HostState state) {
    switch (state) {
      case HostState::kImaginary:
        break;
      case HostState::kStarting:
        SendSyn(host, 999);
        break;
      case HostState::kRunning:
        Bring(host, HostState::kStarting);
        Report(host, State::kRunning);
        break;
      case HostState::kPaused:
        Bring(host, HostState::kRunning);
        Report(host, State::kPaused);
        break;
      case HostState::kReleasing:
        Bring(host, HostState::kPaused);
        Advance(*table.policy(host).release_after);
        break;
      default:
        FAIL();
    }
    ASSERT_EQ(table[host].state, state);
    recorder.Take();
  }

  HostTable table;
  Recorder recorder{table};
  std::unique_ptr<Activator> activator;
  Instant now{seconds(1'000)};
};

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
                          "refuse db 2 over: start failed: exec nginxx: No such file or directory"));
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
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
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

// ---- wake beats release -----------------------------------------------------

TEST_F(ActivatorTest, APacketCancelsAReleaseThatTheAgentCanStillRefuse) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  EXPECT_EQ(SendSyn(db), Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), ElementsAre("goal db#1 run"));
  EXPECT_EQ(SendSyn(db, 2), Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), IsEmpty());  // once is enough
  Report(db, State::kPaused, /*acknowledged=*/false);
  EXPECT_THAT(recorder.Take(), IsEmpty());  // it has not heard of it
  Report(db, State::kRunning, /*acknowledged=*/true);
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > running", "deliver db 2"));
  EXPECT_EQ(recorder.last.cause.kind, Cause::Kind::kSyn);
}

TEST_F(ActivatorTest, APacketAfterThePointOfNoReturnStartsAnewAtOnce) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  SendSyn(db);
  Report(db, State::kReleasing, /*acknowledged=*/true);
  recorder.Take();
  End(db, EndKind::kReleased, "released");
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > imaginary", "db imaginary > starting",
                                           "start db#2"));
  Report(db, State::kRunning);
  EXPECT_THAT(recorder.Take(), ElementsAre("db starting > running", "deliver db 1"));
}

TEST_F(ActivatorTest, TheAgentRefusesAReleaseWhenItWasUsed) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  Report(db, State::kReleaseRefused, /*acknowledged=*/false);  // of an earlier round
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Report(db, State::kReleaseRefused, /*acknowledged=*/true);
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > running"));
  EXPECT_EQ(activator->NextDeadline(), kNever);
}

TEST_F(ActivatorTest, AnAgentThatDoesNotAnswerIsKilled) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  SendSyn(db);
  recorder.Take();
  Advance(seconds(15));
  EXPECT_THAT(recorder.Take(), ElementsAre("goal db#1 kill"));
  End(db, EndKind::kFailed, "killed");
  EXPECT_EQ(table[db].state, HostState::kStarting);
}

TEST_F(ActivatorTest, AReleaseThatIsNotFollowedEscalates) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  Advance(seconds(15));
  EXPECT_THAT(recorder.Take(), ElementsAre("goal db#1 release"));
  Advance(seconds(15));
  EXPECT_THAT(recorder.Take(), ElementsAre("goal db#1 kill"));
  Advance(minutes(10));
  EXPECT_GT(recorder.calls.size(), 5u);   // again and again
  EXPECT_LT(recorder.calls.size(), 20u);  // ever slower
}

TEST_F(ActivatorTest, AKeepaliveDuringAReleaseIsHeldButWakesNobody) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  EXPECT_EQ(Send(db, Tcp(200, 1, db, 6379, kTcpAck, 5)), Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), IsEmpty());
  End(db, EndKind::kReleased, "released");
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db releasing > imaginary", "refuse db 1: the connection is gone"));
}

TEST_F(ActivatorTest, AUsersReleaseStopsARunningHostAndPacketsStartItAnew) {
  const HostId db = Add("db");
  Bring(db, HostState::kRunning);
  ASSERT_TRUE(activator->Release(db, "im release", now).ok());
  EXPECT_THAT(recorder.Take(), ElementsAre("db running > releasing", "goal db#1 release"));
  SendSyn(db);
  EXPECT_THAT(recorder.Take(), IsEmpty());  // not cancelled
  End(db, EndKind::kReleased, "released");
  EXPECT_EQ(table[db].state, HostState::kStarting);
}

TEST_F(ActivatorTest, AUsersReleaseEndsAStartAndAWaitingWake) {
  const HostId a = Add("a");
  Bring(a, HostState::kStarting);
  ASSERT_TRUE(activator->Release(a, "im release", now).ok());
  EXPECT_THAT(recorder.Take(), ElementsAre("a starting > releasing", "goal a#1 kill",
                                           "refuse a 1 over: im release"));
  EXPECT_EQ(activator->starting(), 0u);
  End(a, EndKind::kFailed, "killed");
  EXPECT_EQ(table[a].state, HostState::kImaginary);

  Make({.starting_max = 1});
  const HostId b = Add("b"), c = Add("c");
  SendSyn(b);
  SendSyn(c);
  recorder.Take();
  ASSERT_TRUE(activator->Release(c, "im release", now).ok());
  EXPECT_THAT(recorder.Take(), ElementsAre("refuse c 1 over: im release"));
}

TEST_F(ActivatorTest, WakeThawsAPausedHost) {
  const HostId db = Add("db");
  Bring(db, HostState::kPaused);
  ASSERT_TRUE(activator->Wake(db, MakeCause(Cause::Kind::kUser), now).ok());
  EXPECT_THAT(recorder.Take(), ElementsAre("goal db#1 run"));
}

// ---- hosts that depend on others --------------------------------------------

TEST_F(ActivatorTest, FollowersWakeWithTheirLeader) {
  const HostId master = Add("master"), worker = Add("worker"), store = Add("store");
  table.AddFollower(master, worker, Cause::Kind::kWakeWith);
  table.AddFollower(master, store, Cause::Kind::kDependsOn);
  SendSyn(master);
  EXPECT_THAT(recorder.Take(),
              ElementsAre("master imaginary > starting", "start master#1",
                          "worker imaginary > starting", "start worker#2",
                          "store imaginary > starting", "start store#3"));
  EXPECT_EQ(table[worker].history->cause.kind, Cause::Kind::kWakeWith);
  EXPECT_EQ(table[worker].history->cause.detail, "master");
}

TEST_F(ActivatorTest, AThawOfTheLeaderThawsOrStartsItsFollowers) {
  const HostId master = Add("master"), worker = Add("worker"), store = Add("store");
  table.AddFollower(master, worker, Cause::Kind::kWakeWith);
  table.AddFollower(master, store, Cause::Kind::kDependsOn);
  SendSyn(master);
  for (const HostId host : {master, worker, store}) {
    Report(host, State::kRunning);
    Report(host, State::kPaused);
  }
  recorder.Take();
  Report(master, State::kRunning, false, 1);
  EXPECT_THAT(recorder.Take(), ElementsAre("master paused > running", "goal worker#2 run"));
}

TEST_F(ActivatorTest, AFollowerIsNotReleasedWhileItsLeaderIsUp) {
  const HostId master = Add("master"), worker = Add("worker");
  table.AddFollower(master, worker, Cause::Kind::kWakeWith);
  SendSyn(master);
  Report(master, State::kRunning);
  Report(worker, State::kRunning);
  Report(worker, State::kPaused);
  Advance(minutes(11));
  EXPECT_EQ(table[worker].state, HostState::kPaused);
  EXPECT_EQ(activator->outlook(worker, now).kept_by, master);
  Report(master, State::kPaused);
  Advance(Duration(0));
  EXPECT_EQ(table[worker].state, HostState::kReleasing);
}

TEST_F(ActivatorTest, AFollowerThatEndsIsStartedAgainWhileItsLeaderIsUp) {
  const HostId master = Add("master"), worker = Add("worker");
  table.AddFollower(master, worker, Cause::Kind::kWakeWith);
  SendSyn(master);
  Report(master, State::kRunning);
  Report(worker, State::kRunning);
  Advance(minutes(1));
  End(worker, EndKind::kExited, "exited with code 0");
  EXPECT_EQ(table[worker].state, HostState::kStarting);
}

TEST_F(ActivatorTest, HostsThatFollowEachOtherWakeOnce) {
  const HostId a = Add("a"), b = Add("b");
  table.AddFollower(a, b, Cause::Kind::kWakeWith);
  table.AddFollower(b, a, Cause::Kind::kWakeWith);
  SendSyn(a);
  EXPECT_EQ(activator->counters().starts, 2u);
}

TEST_F(ActivatorTest, ALongChainOfFollowersDoesNotRecurse) {
  Make({.starting_max = 100'000});
  constexpr int kHosts = 20'000;
  std::vector<HostId> hosts;
  for (int i = 0; i < kHosts; ++i) hosts.push_back(Add(absl::StrCat("h", i)));
  for (int i = 1; i < kHosts; ++i)
    table.AddFollower(hosts[i - 1], hosts[i], Cause::Kind::kWakeWith);
  SendSyn(hosts[0]);
  EXPECT_EQ(activator->starting(), static_cast<size_t>(kHosts));
}

TEST_F(ActivatorTest, AnAlwaysRunningHostIsStartedNeverReleasedAndStartedAgain) {
  const HostId db = Add("db", {.always_running = true});
  activator->Begin(now);
  EXPECT_THAT(recorder.Take(), ElementsAre("db imaginary > starting", "start db#1"));
  Report(db, State::kRunning);
  Report(db, State::kPaused);
  Advance(minutes(60));
  EXPECT_EQ(table[db].state, HostState::kPaused);
  for (int i = 0; i < 12; ++i) {
    End(db, EndKind::kFailed, "boom");
    if (const auto retry_at = activator->outlook(db, now).retry_at) Advance(*retry_at - now);
    ASSERT_EQ(table[db].state, HostState::kStarting) << i;
  }
  EXPECT_EQ(table[db].history->cause.kind, Cause::Kind::kMinRunning);
}

// ---- adopted instances and guests -------------------------------------------

TEST_F(ActivatorTest, AnAdoptedInstanceIsNotStartedAgain) {
  const HostId db = Add("db");
  activator->Adopt(db, 41, MakeCause(Cause::Kind::kUnknown, "imd was restarted"), now);
  EXPECT_THAT(recorder.Take(), ElementsAre("db imaginary > starting"));
  EXPECT_EQ(activator->starting(), 0u);
  EXPECT_EQ(SendSyn(db), Verdict::kHeld);
  Report(db, State::kPaused);
  EXPECT_THAT(recorder.Take(), ElementsAre("db starting > running", "deliver db 1",
                                           "db running > paused"));
  EXPECT_EQ(activator->next_incarnation(), 42u);
}

TEST_F(ActivatorTest, AGuestIsNeverStartedByAPacket) {
  const HostId run = Add("run-1", {.release_after = std::nullopt}, /*guest=*/true);
  EXPECT_EQ(SendSyn(run), Verdict::kRefused);
  EXPECT_FALSE(activator->Wake(run, MakeCause(Cause::Kind::kUser), now).ok());
  recorder.Take();
  EXPECT_EQ(activator->Expect(run, MakeCause(Cause::Kind::kRun), now), 1u);
  EXPECT_EQ(SendSyn(run), Verdict::kHeld);
  Report(run, State::kRunning);
  EXPECT_THAT(recorder.Take(), ElementsAre("run-1 imaginary > starting", "run-1 starting > running",
                                           "deliver run-1 1"));
  End(run, EndKind::kFailed, "exited with code 1");
  EXPECT_EQ(activator->active(), 0u);
  activator->RemoveGuest(run);
  EXPECT_EQ(table.size(), 0u);
}

TEST_F(ActivatorTest, EventsOfAnotherIncarnationAreIgnored) {
  const HostId db = Add("db");
  SendSyn(db);
  End(db, EndKind::kFailed, "boom");
  SendSyn(db);
  recorder.Take();
  activator->OnInstanceStatus(db, 1, {}, now);
  activator->OnInstanceEnded(db, 1, {EndKind::kFailed, "late"}, now);
  activator->OnInstanceEnded(db, 99, {EndKind::kFailed, "early"}, now);
  activator->OnInstanceEnded(HostId{77}, 2, {EndKind::kFailed, "nobody"}, now);
  EXPECT_THAT(recorder.Take(), IsEmpty());
  EXPECT_EQ(activator->counters().stale_events, 4u);
  EXPECT_EQ(table[db].state, HostState::kStarting);
}

// ---- the end ----------------------------------------------------------------

TEST_F(ActivatorTest, ShutdownEndsEverythingAndStartsNothing) {
  Make({.starting_max = 1});
  const HostId running = Add("running"), starting = Add("starting"), queued = Add("queued"),
               resting = Add("resting"), always = Add("always", {.always_running = true});
  SendSyn(running);
  Report(running, State::kRunning);
  SendSyn(starting);
  SendSyn(queued);
  recorder.Take();
  activator->Shutdown("im down", false, now);
  EXPECT_THAT(recorder.Take(),
              ElementsAre("running running > releasing", "goal running#1 release",
                          "starting starting > releasing", "goal starting#2 kill",
                          "refuse starting 1 over: im down", "refuse queued 1 over: im down"));
  EXPECT_FALSE(activator->all_ended());
  EXPECT_EQ(SendSyn(resting), Verdict::kRefused);
  EXPECT_EQ(SendSyn(running), Verdict::kRefused);
  EXPECT_FALSE(activator->Wake(resting, MakeCause(Cause::Kind::kUser), now).ok());
  recorder.Take();
  activator->Shutdown("im down", true, now);
  EXPECT_THAT(recorder.Take(), ElementsAre("goal running#1 kill"));
  End(running, EndKind::kReleased, "");
  End(starting, EndKind::kFailed, "killed");
  EXPECT_TRUE(activator->all_ended());
  EXPECT_EQ(table[always].state, HostState::kImaginary);
  EXPECT_EQ(activator->held().packets(), 0u);
}

// ---- the table of host.h, cell by cell --------------------------------------

TEST_F(ActivatorTest, EveryStateMeetsEveryEvent) {
  enum Event { kPacket, kWake, kIdle, kStatusRunning, kStatusPaused, kEnd, kFail, kTime, kRelease };
  const struct {
    HostState from;
    HostState to[9];  // by Event
  } rows[] = {
      {HostState::kImaginary,
       {HostState::kStarting, HostState::kStarting, HostState::kImaginary, HostState::kImaginary,
        HostState::kImaginary, HostState::kImaginary, HostState::kImaginary, HostState::kImaginary,
        HostState::kImaginary}},
      {HostState::kStarting,
       {HostState::kStarting, HostState::kStarting, HostState::kStarting, HostState::kRunning,
        HostState::kPaused, HostState::kImaginary, HostState::kImaginary, HostState::kReleasing,
        HostState::kReleasing}},
      {HostState::kRunning,
       {HostState::kRunning, HostState::kRunning, HostState::kRunning, HostState::kRunning,
        HostState::kPaused, HostState::kImaginary, HostState::kImaginary, HostState::kRunning,
        HostState::kReleasing}},
      {HostState::kPaused,
       {HostState::kPaused, HostState::kPaused, HostState::kReleasing, HostState::kRunning,
        HostState::kPaused, HostState::kImaginary, HostState::kImaginary, HostState::kPaused,
        HostState::kReleasing}},
      {HostState::kReleasing,
       {HostState::kReleasing, HostState::kReleasing, HostState::kReleasing, HostState::kReleasing,
        HostState::kReleasing, HostState::kImaginary, HostState::kImaginary, HostState::kReleasing,
        HostState::kReleasing}},
  };
  int n = 0;
  for (const auto& row : rows) {
    for (int event = kPacket; event <= kRelease; ++event) {
      const HostId host = Add(absl::StrCat("h", n++));
      Bring(host, row.from);
      switch (event) {
        case kPacket:
          EXPECT_EQ(SendSyn(host), row.from == HostState::kRunning || row.from == HostState::kPaused
                                       ? Verdict::kForward
                                       : Verdict::kHeld);
          break;
        case kWake:
          EXPECT_TRUE(activator->Wake(host, MakeCause(Cause::Kind::kUser), now).ok());
          break;
        case kIdle:  // release_after, for who counts it
          if (row.from == HostState::kPaused) Advance(minutes(10));
          break;
        case kStatusRunning:
          Report(host, State::kRunning);
          break;
        case kStatusPaused:
          Report(host, State::kPaused);
          break;
        case kEnd:
          End(host, EndKind::kExited, "exited");
          break;
        case kFail:
          End(host, EndKind::kFailed, "failed");
          break;
        case kTime:
          Advance(seconds(30));
          break;
        case kRelease:
          EXPECT_TRUE(activator->Release(host, "im release", now).ok());
          break;
      }
      EXPECT_EQ(table[host].state, row.to[event])
          << HostStateName(row.from) << ", event " << event;
      // Out of the way of the next case.
      while (table[host].state != HostState::kImaginary) End(host, EndKind::kExited, "");
    }
  }
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
