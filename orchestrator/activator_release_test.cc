// Releases, hosts that depend on others, adopted instances, guests, the end.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "orchestrator/activator.h"
#include "orchestrator/activator_fixture.h"

namespace im::orchestrator {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Verdict = Activator::Verdict;
using State = Activator::Report::State;
using EndKind = Activator::End::Kind;

class ActivatorReleaseTest : public ActivatorFixture {};

// ---- wake beats release -----------------------------------------------------

TEST_F(ActivatorReleaseTest, APacketCancelsAReleaseThatTheAgentCanStillRefuse) {
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

TEST_F(ActivatorReleaseTest, APacketAfterThePointOfNoReturnStartsAnewAtOnce) {
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

TEST_F(ActivatorReleaseTest, TheAgentRefusesAReleaseWhenItWasUsed) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  Report(db, State::kReleaseRefused, /*acknowledged=*/false);  // of an earlier round
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Report(db, State::kReleaseRefused, /*acknowledged=*/true);
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > running"));
  EXPECT_EQ(activator->NextDeadline(), kNever);
}

TEST_F(ActivatorReleaseTest, AnAgentThatDoesNotAnswerIsKilled) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  SendSyn(db);
  recorder.Take();
  Advance(seconds(15));
  EXPECT_THAT(recorder.Take(), ElementsAre("goal db#1 kill"));
  End(db, EndKind::kFailed, "killed");
  EXPECT_EQ(table[db].state, HostState::kStarting);
}

TEST_F(ActivatorReleaseTest, AReleaseThatIsNotFollowedEscalates) {
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

TEST_F(ActivatorReleaseTest, AKeepaliveDuringAReleaseIsHeldButWakesNobody) {
  const HostId db = Add("db");
  Bring(db, HostState::kReleasing);
  EXPECT_EQ(Send(db, Tcp(200, 1, db, 6379, kTcpAck, 5)), Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), IsEmpty());
  End(db, EndKind::kReleased, "released");
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db releasing > imaginary", "refuse db 1: the connection is gone"));
}

TEST_F(ActivatorReleaseTest, AUsersReleaseStopsARunningHostAndPacketsStartItAnew) {
  const HostId db = Add("db");
  Bring(db, HostState::kRunning);
  ASSERT_TRUE(activator->Release(db, "im release", now).ok());
  EXPECT_THAT(recorder.Take(), ElementsAre("db running > releasing", "goal db#1 release"));
  SendSyn(db);
  EXPECT_THAT(recorder.Take(), IsEmpty());  // not cancelled
  End(db, EndKind::kReleased, "released");
  EXPECT_EQ(table[db].state, HostState::kStarting);
}

TEST_F(ActivatorReleaseTest, LastWordsOnOldConnectionsWakeNobody) {
  const HostId app = Add("app"), db = Add("db");
  Bring(db, HostState::kRunning);
  const auto words = [&] {
    return Send(app, Tcp(db + 2, 5432, app + 2, 40000, kTcpAck | kTcpPsh, 5, 20));
  };
  ASSERT_TRUE(activator->Release(db, "im release", now).ok());
  recorder.Take();
  EXPECT_EQ(words(), Verdict::kRefused);
  EXPECT_THAT(recorder.Take(), ElementsAre("refuse app 1: the connection is gone"));
  // One that ends by a user's word is as good as gone.
  Bring(app, HostState::kRunning);
  ASSERT_TRUE(activator->Release(app, "im release", now).ok());
  EXPECT_EQ(words(), Verdict::kHeld);
  recorder.Take();
  End(app, EndKind::kReleased, "released");
  EXPECT_THAT(recorder.Take(), ElementsAre("app releasing > imaginary",
                                           "refuse app 1: the connection is gone"));
  // A new connection is one more wish of the host that ends.
  EXPECT_EQ(Send(app, Tcp(db + 2, 40001, app + 2, 80, kTcpSyn, 5)), Verdict::kHeld);
  EXPECT_EQ(table[app].state, HostState::kStarting);
}

TEST_F(ActivatorReleaseTest, LastWordsReachWhoMayStillLive) {
  const HostId app = Add("app"), db = Add("db");
  Bring(db, HostState::kReleasing);
  Bring(app, HostState::kReleasing);  // idle: its agent may refuse
  recorder.Take();
  EXPECT_EQ(Send(app, Tcp(db + 2, 5432, app + 2, 40000, kTcpAck | kTcpPsh, 5, 20)),
            Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), ElementsAre("goal app#2 run"));
}

TEST_F(ActivatorReleaseTest, AUsersReleaseEndsAStartAndAWaitingWake) {
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

TEST_F(ActivatorReleaseTest, WakeThawsAPausedHost) {
  const HostId db = Add("db");
  Bring(db, HostState::kPaused);
  ASSERT_TRUE(activator->Wake(db, MakeCause(Cause::Kind::kUser), now).ok());
  EXPECT_THAT(recorder.Take(), ElementsAre("goal db#1 run"));
}

// ---- hosts that depend on others --------------------------------------------

TEST_F(ActivatorReleaseTest, FollowersWakeWithTheirLeader) {
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

TEST_F(ActivatorReleaseTest, AThawOfTheLeaderThawsOrStartsItsFollowers) {
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

TEST_F(ActivatorReleaseTest, AFollowerIsNotReleasedWhileItsLeaderIsUp) {
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

TEST_F(ActivatorReleaseTest, AFollowerThatEndsIsStartedAgainWhileItsLeaderIsUp) {
  const HostId master = Add("master"), worker = Add("worker");
  table.AddFollower(master, worker, Cause::Kind::kWakeWith);
  SendSyn(master);
  Report(master, State::kRunning);
  Report(worker, State::kRunning);
  Advance(minutes(1));
  End(worker, EndKind::kExited, "exited with code 0");
  EXPECT_EQ(table[worker].state, HostState::kStarting);
}

TEST_F(ActivatorReleaseTest, HostsThatFollowEachOtherWakeOnce) {
  const HostId a = Add("a"), b = Add("b");
  table.AddFollower(a, b, Cause::Kind::kWakeWith);
  table.AddFollower(b, a, Cause::Kind::kWakeWith);
  SendSyn(a);
  EXPECT_EQ(activator->counters().starts, 2u);
}

TEST_F(ActivatorReleaseTest, ALongChainOfFollowersDoesNotRecurse) {
  Make({.starting_max = 100'000});
  constexpr int kHosts = 20'000;
  std::vector<HostId> hosts;
  for (int i = 0; i < kHosts; ++i) hosts.push_back(Add(absl::StrCat("h", i)));
  for (int i = 1; i < kHosts; ++i)
    table.AddFollower(hosts[i - 1], hosts[i], Cause::Kind::kWakeWith);
  SendSyn(hosts[0]);
  EXPECT_EQ(activator->starting(), static_cast<size_t>(kHosts));
}

TEST_F(ActivatorReleaseTest, AnAlwaysRunningHostIsStartedNeverReleasedAndStartedAgain) {
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

TEST_F(ActivatorReleaseTest, AHostThatWaitsForATimerIsNotReleased) {
  const HostId cron = Add("cron", {.release_after = minutes(10)});
  Bring(cron, HostState::kRunning);
  const auto pause = [&](std::optional<Duration> timer_in) {
    activator->OnInstanceStatus(cron, table[cron].incarnation,
                                {.state = State::kPaused, .timer_in = timer_in}, now);
  };
  pause(minutes(60));
  EXPECT_EQ(activator->outlook(cron, now).timer_at, now + minutes(60));
  EXPECT_FALSE(activator->outlook(cron, now).release_at.has_value());
  Advance(minutes(59));
  EXPECT_EQ(table[cron].state, HostState::kPaused);
  Report(cron, State::kRunning);
  EXPECT_FALSE(activator->outlook(cron, now).timer_at.has_value());
  pause(std::nullopt);
  EXPECT_FALSE(activator->outlook(cron, now).timer_at.has_value());
  Advance(minutes(10));
  EXPECT_EQ(table[cron].state, HostState::kReleasing);
}

// ---- adopted instances and guests -------------------------------------------

TEST_F(ActivatorReleaseTest, AnAdoptedInstanceIsNotStartedAgain) {
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

TEST_F(ActivatorReleaseTest, AGuestIsNeverStartedByAPacket) {
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

TEST_F(ActivatorReleaseTest, APacketToAGuestThatEndsIsRefused) {
  const HostId run = Add("run-1", {.release_after = std::nullopt}, /*guest=*/true);
  activator->Expect(run, MakeCause(Cause::Kind::kRun), now);
  Report(run, State::kRunning);
  recorder.Take();
  Report(run, State::kReleasing);
  EXPECT_EQ(SendSyn(run), Verdict::kRefused);
  EXPECT_FALSE(activator->Wake(run, MakeCause(Cause::Kind::kUser), now).ok());
  EXPECT_THAT(recorder.Take(),
              ElementsAre("run-1 running > releasing", "goal run-1#1 release",
                          "refuse run-1 1: the program of im run has ended"));
  End(run, EndKind::kExited, "exited with status 0");
  EXPECT_THAT(recorder.Take(), ElementsAre("run-1 releasing > imaginary"));
}

TEST_F(ActivatorReleaseTest, APacketToAProgramThatEndsWaitsForTheNext) {
  const HostId db = Add("db");
  Bring(db, HostState::kRunning);
  Advance(std::chrono::minutes(5));  // long enough to be no failed start
  Report(db, State::kReleasing);
  EXPECT_EQ(SendSyn(db), Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), ElementsAre("db running > releasing", "goal db#1 release"));
  End(db, EndKind::kExited, "exited with status 0");
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > imaginary", "db imaginary > starting",
                                           "start db#2"));
  Report(db, State::kRunning);
  EXPECT_THAT(recorder.Take(), ElementsAre("db starting > running", "deliver db 1"));
}

TEST_F(ActivatorReleaseTest, AProgramThatEndedBeforeWeHeardOfItRefusesForItself) {
  const HostId db = Add("db");
  SendSyn(db);
  recorder.Take();
  Report(db, State::kReleasing);  // one that was taken back, and is being stopped
  EXPECT_THAT(recorder.Take(), ElementsAre());
  activator->OnInstanceStatus(db, 1, {.state = State::kReleasing, .program_ended = true}, now);
  EXPECT_THAT(recorder.Take(), ElementsAre("db starting > running", "deliver db 1",
                                           "db running > releasing", "goal db#1 release"));
  End(db, EndKind::kFailed, "exited with status 7");
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > imaginary"));
}

TEST_F(ActivatorReleaseTest, AProgramThatEndsByItselfIsKeptFromDoingSoAllTheTime) {
  const HostId db = Add("db", {.start_timeout = std::chrono::milliseconds(10)});
  Bring(db, HostState::kRunning);
  const auto end_with_a_packet_held = [&] {
    Report(db, State::kReleasing);
    EXPECT_EQ(SendSyn(db), Verdict::kHeld);
    recorder.Take();
    End(db, EndKind::kFailed, "exited with status 7");
  };
  end_with_a_packet_held();  // the first costs nothing
  Report(db, State::kRunning);
  end_with_a_packet_held();
  // The back-off would outlast the packet.
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db releasing > imaginary",
                          testing::StartsWith("refuse db 1 over: backing off")));
  EXPECT_EQ(activator->outlook(db, now).failures, 2u);
}

TEST_F(ActivatorReleaseTest, EventsOfAnotherIncarnationAreIgnored) {
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

TEST_F(ActivatorReleaseTest, ShutdownEndsEverythingAndStartsNothing) {
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

}  // namespace
}  // namespace im::orchestrator
