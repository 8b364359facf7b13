// Hosts that are started after others, and starts that are not over when the program runs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "orchestrator/activator_fixture.h"

namespace im::orchestrator {
namespace {

using State = Activator::Report::State;
using Verdict = Activator::Verdict;
using EndKind = Activator::End::Kind;
using NeedKind = HostTable::Need::Kind;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

class ActivatorNeedsTest : public ActivatorFixture {
 protected:
  void NotReady(HostId host, const std::string& why, bool ends = false) {
    activator->OnInstanceStatus(host, table[host].incarnation,
                                {.state = ends ? State::kReleasing : State::kRunning,
                                 .program_ended = ends,
                                 .not_ready = why},
                                now);
  }
  std::string LastError(HostId host) { return table[host].history->last_error; }
};

// ---- a start that takes as long as its healthcheck ----

TEST_F(ActivatorNeedsTest, AHostThatIsNotReadyIsStartingAndHoldsItsCallers) {
  const HostId db = Add("db");
  SendSyn(db);
  NotReady(db, "its healthcheck has not succeeded yet");
  EXPECT_EQ(table[db].state, HostState::kStarting);
  EXPECT_EQ(SendSyn(db, 2), Verdict::kHeld);
  EXPECT_EQ(activator->outlook(db, now).not_ready, "its healthcheck has not succeeded yet");
  recorder.Take();
  Report(db, State::kRunning);
  EXPECT_THAT(recorder.Take(), ElementsAre("db starting > running", "deliver db 2"));
  EXPECT_EQ(activator->outlook(db, now).not_ready, "");
}

TEST_F(ActivatorNeedsTest, AHostThatIsNotReadyHearsOfThoseThatItHasCalled) {
  Make({.called_max = 1});
  const HostId web = Add("web");
  const Endpoint db{TestAddress(9), 5432}, client{table[web].address, 40'000};
  const std::vector<uint8_t> answer =
      BuildTcp(db, client, {.sequence = 1, .acknowledgment = 2, .flags = kTcpSyn | kTcpAck});
  const std::vector<uint8_t> datagram(4, 'x');
  SendSyn(web);
  activator->OnSent(client.address, db.address);
  EXPECT_EQ(Send(web, answer), Verdict::kHeld) << "nobody has heard of its agent yet";
  NotReady(web, "not yet");
  EXPECT_EQ(Send(web, answer), Verdict::kForward);
  EXPECT_EQ(Send(web, BuildUdp(db, {client.address, 53}, datagram)), Verdict::kForward);
  const Endpoint other{TestAddress(10), 5432};
  EXPECT_EQ(Send(web, BuildUdp(other, {client.address, 53}, datagram)), Verdict::kHeld);
  activator->OnSent(client.address, other.address);
  EXPECT_EQ(Send(web, BuildUdp(other, {client.address, 53}, datagram)), Verdict::kHeld)
      << "one too many";
  // The next instance has called nobody.
  End(web, EndKind::kFailed, "no");
  SendSyn(web);
  NotReady(web, "not yet");
  EXPECT_EQ(Send(web, answer), Verdict::kHeld);
}

TEST_F(ActivatorNeedsTest, AStartThatTimesOutSaysHowTheHealthcheckStands) {
  const HostId db = Add("db");
  SendSyn(db);
  NotReady(db, "its healthcheck failed: exit code 1");
  recorder.Take();
  Advance(seconds(30));
  EXPECT_EQ(LastError(db), "start timed out after 30s: its healthcheck failed: exit code 1");
  EXPECT_EQ(table[db].state, HostState::kReleasing);
}

TEST_F(ActivatorNeedsTest, AProgramThatIsNotReadyIsAskedToStop) {
  HostPolicy policy;
  policy.stop_timeout = seconds(5);
  const HostId db = Add("db", policy);
  const auto start = [&] {
    SendSyn(db);
    NotReady(db, "not yet");
    recorder.Take();
  };
  const auto end = [&] {
    NotReady(db, "not yet", /*ends=*/true);
    End(db, EndKind::kReleased, "");
    EXPECT_EQ(table[db].state, HostState::kImaginary);
  };
  start();
  ASSERT_TRUE(activator->Release(db, "im release", now).ok());
  EXPECT_THAT(recorder.Take(), testing::Contains("goal db#1 release"));
  end();
  start();
  Advance(seconds(30));
  EXPECT_THAT(recorder.Take(), testing::Contains("goal db#2 release"));
  Advance(seconds(5));
  EXPECT_THAT(recorder.Take(), ElementsAre("goal db#2 kill"));
  end();
  start();
  activator->Shutdown("im down", /*force=*/false, now);
  EXPECT_THAT(recorder.Take(), testing::Contains("goal db#3 release"));
  end();
}

TEST_F(ActivatorNeedsTest, AProgramThatEndsBeforeItIsReadyNeverWasUp) {
  const HostId db = Add("db");
  SendSyn(db);
  NotReady(db, "not yet");
  NotReady(db, "not yet", /*ends=*/true);
  recorder.Take();
  End(db, EndKind::kFailed, "exited with status 3");
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db starting > imaginary",
                          "refuse db 1 over: start failed: exited with status 3"));
}

// ---- who is up first ----

TEST_F(ActivatorNeedsTest, AHostIsStartedWhenWhatItNeedsIsUp) {
  const HostId web = Add("web"), db = Add("db");
  table.AddNeed(web, {db, NeedKind::kUp});
  EXPECT_EQ(SendSyn(web), Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), ElementsAre("wait web: it needs db to be up",
                                           "db imaginary > starting", "start db#1"));
  EXPECT_EQ(activator->outlook(web, now).needs, "db to be up");
  NotReady(db, "tested");
  EXPECT_EQ(activator->outlook(web, now).needs, "db to be up (tested)");
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Report(db, State::kRunning);
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db starting > running", "web imaginary > starting", "start web#2"));
  EXPECT_EQ(table[db].history->cause_text, "needed by web");
  // Later it is nothing to it whether the other is up.
  Report(web, State::kRunning);
  Report(db, State::kPaused);
  End(db, EndKind::kFailed, "killed");
  EXPECT_EQ(table[web].state, HostState::kRunning);
}

TEST_F(ActivatorNeedsTest, WhatIsPausedIsUp) {
  const HostId web = Add("web"), db = Add("db");
  table.AddNeed(web, {db, NeedKind::kUp});
  Bring(db, HostState::kPaused);
  SendSyn(web);
  EXPECT_THAT(recorder.Take(), ElementsAre("web imaginary > starting", "start web#2"));
}

TEST_F(ActivatorNeedsTest, WhatIsBeingReleasedIsWokenForIt) {
  const HostId web = Add("web"), db = Add("db");
  table.AddNeed(web, {db, NeedKind::kUp});
  Bring(db, HostState::kReleasing);
  SendSyn(web);
  EXPECT_THAT(recorder.Take(), ElementsAre("wait web: it needs db to be up", "goal db#1 run"));
  Report(db, State::kRunning, /*acknowledged=*/true);
  EXPECT_EQ(table[web].state, HostState::kStarting);
}

TEST_F(ActivatorNeedsTest, AllOfAChainIsWokenAndBeginsFromItsEnd) {
  const HostId web = Add("web"), app = Add("app"), db = Add("db");
  table.AddNeed(web, {app, NeedKind::kUp});
  table.AddNeed(app, {db, NeedKind::kUp});
  ASSERT_TRUE(activator->Wake(web, MakeCause(Cause::Kind::kUser), now).ok());
  EXPECT_THAT(recorder.Take(),
              ElementsAre("wait web: it needs app to be up", "wait app: it needs db to be up",
                          "db imaginary > starting", "start db#1"));
  Report(db, State::kRunning);
  Report(app, State::kRunning);
  EXPECT_EQ(table[web].state, HostState::kStarting);
}

TEST_F(ActivatorNeedsTest, WhoWaitsForAnotherHoldsNoSlot) {
  Make({.starting_max = 1});
  const HostId web = Add("web"), db = Add("db");
  table.AddNeed(web, {db, NeedKind::kUp});
  SendSyn(web);
  EXPECT_EQ(table[db].state, HostState::kStarting);
  Report(db, State::kRunning);
  EXPECT_EQ(table[web].state, HostState::kStarting);
}

// ---- what fails ----

TEST_F(ActivatorNeedsTest, AFailureFailsThoseWhoNeedItAndIsNamed) {
  const HostId web = Add("web"), app = Add("app"), db = Add("db");
  table.AddNeed(web, {app, NeedKind::kUp});
  table.AddNeed(app, {db, NeedKind::kUp});
  SendSyn(web);
  recorder.Take();
  End(db, EndKind::kFailed, "no such file");
  const std::string why = "it needs db to be up: start failed: no such file";
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db starting > imaginary", "refuse db 0 over: start failed: no such file",
                          "refuse app 0 over: " + why,
                          "refuse web 1 over: it needs app to be up: " + why));
  EXPECT_EQ(LastError(app), why);
  EXPECT_EQ(table[db].state, HostState::kImaginary) << "nobody wants it any more";
  EXPECT_EQ(activator->outlook(web, now).failures, 1u);
  // The first failure costs nothing.
  SendSyn(web, 2);
  EXPECT_EQ(table[db].state, HostState::kStarting);
}

TEST_F(ActivatorNeedsTest, WhoMustRunAlwaysTriesAgainLater) {
  HostPolicy always;
  always.always_running = true;
  const HostId web = Add("web", always), db = Add("db");
  table.AddNeed(web, {db, NeedKind::kUp});
  activator->Begin(now);
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(table[db].state, HostState::kStarting) << i;
    End(db, EndKind::kFailed, "no");
    Advance(seconds(10));
  }
  Report(db, State::kRunning);
  EXPECT_EQ(table[web].state, HostState::kStarting);
}

TEST_F(ActivatorNeedsTest, TheWaitIsBoundAndSaysForWhom) {
  HostPolicy slow;
  slow.start_timeout = seconds(100);
  const HostId web = Add("web"), db = Add("db", slow);
  table.AddNeed(web, {db, NeedKind::kUp});
  SendSyn(web);
  recorder.Take();
  Advance(seconds(30));
  EXPECT_THAT(recorder.Take(),
              ElementsAre("refuse web 1 over: it needs db to be up, which took longer than 30s"));
  Report(db, State::kRunning);
  EXPECT_EQ(table[web].state, HostState::kImaginary);
}

TEST_F(ActivatorNeedsTest, AReleaseOfWhoWaitsIsTheEndOfIt) {
  const HostId web = Add("web"), db = Add("db");
  table.AddNeed(web, {db, NeedKind::kUp});
  SendSyn(web);
  recorder.Take();
  ASSERT_TRUE(activator->Release(web, "im release", now).ok());
  EXPECT_THAT(recorder.Take(), ElementsAre("refuse web 1 over: im release"));
  Report(db, State::kRunning);
  EXPECT_EQ(table[web].state, HostState::kImaginary);
}

TEST_F(ActivatorNeedsTest, AShutdownLeavesNobodyWaiting) {
  const HostId web = Add("web"), db = Add("db");
  table.AddNeed(web, {db, NeedKind::kUp});
  SendSyn(web);
  recorder.Take();
  activator->Shutdown("im down", false, now);
  End(db, EndKind::kReleased, "");
  EXPECT_EQ(table[db].state, HostState::kImaginary);
  EXPECT_EQ(table[web].state, HostState::kImaginary);
  EXPECT_EQ(activator->active(), 0u);
}

// ---- what is to have completed ----

TEST_F(ActivatorNeedsTest, AJobIsRunOnce) {
  HostPolicy policy;
  policy.release_after = seconds(1);
  const HostId web = Add("web", policy), job = Add("job");
  table.AddNeed(web, {job, NeedKind::kCompleted});
  SendSyn(web);
  EXPECT_THAT(recorder.Take(), ElementsAre("wait web: it needs job to have completed",
                                           "job imaginary > starting", "start job#1"));
  Report(job, State::kRunning);
  EXPECT_THAT(recorder.Take(), ElementsAre("job starting > running"));
  End(job, EndKind::kExited, "exited with status 0");
  EXPECT_THAT(recorder.Take(),
              ElementsAre("job running > imaginary", "web imaginary > starting", "start web#2"));
  Report(web, State::kRunning);
  End(web, EndKind::kFailed, "killed");
  recorder.Take();
  SendSyn(web);
  EXPECT_THAT(recorder.Take(), ElementsAre("web imaginary > starting", "start web#3"));
}

TEST_F(ActivatorNeedsTest, WhatCompletedUnderAnEarlierOrchestratorIsNotRunAgain) {
  const HostId web = Add("web"), job = Add("job");
  table.AddNeed(web, {job, NeedKind::kCompleted});
  activator->AdoptCompleted(job);
  SendSyn(web);
  EXPECT_THAT(recorder.Take(), ElementsAre("web imaginary > starting", "start web#1"));
  EXPECT_THAT(activator->completed(), ElementsAre(job));
}

TEST_F(ActivatorNeedsTest, AJobThatEndedBeforeItWasSeenHasCompleted) {
  const HostId web = Add("web"), job = Add("job");
  table.AddNeed(web, {job, NeedKind::kCompleted});
  SendSyn(web);
  End(job, EndKind::kExited, "exited with status 0");
  EXPECT_EQ(table[web].state, HostState::kStarting);
  EXPECT_EQ(table[job].state, HostState::kImaginary);
}

TEST_F(ActivatorNeedsTest, AJobThatFailedFailsThoseWhoNeedItAndIsRunAgain) {
  const HostId web = Add("web"), job = Add("job");
  table.AddNeed(web, {job, NeedKind::kCompleted});
  SendSyn(web);
  Report(job, State::kRunning);
  recorder.Take();
  End(job, EndKind::kFailed, "exited with status 1");
  EXPECT_THAT(
      recorder.Take(),
      ElementsAre("job running > imaginary",
                  "refuse web 1 over: it needs job to have completed: exited with status 1"));
  SendSyn(web, 2);
  EXPECT_EQ(table[job].state, HostState::kStarting);
  EXPECT_EQ(table[web].state, HostState::kImaginary);
}

TEST_F(ActivatorNeedsTest, AJobThatIsRestartedByItselfIsWaitedFor) {
  HostPolicy again;
  again.restart = HostPolicy::Restart::kOnFailure;
  const HostId web = Add("web"), job = Add("job", again);
  table.AddNeed(web, {job, NeedKind::kCompleted});
  SendSyn(web);
  Report(job, State::kRunning);
  End(job, EndKind::kFailed, "exited with status 1");
  EXPECT_EQ(table[job].state, HostState::kStarting);
  Report(job, State::kRunning);
  End(job, EndKind::kExited, "exited with status 0");
  EXPECT_EQ(table[web].state, HostState::kStarting);
}

TEST_F(ActivatorNeedsTest, AJobThatIsReleasedIsBegunAnewForWhoWaits) {
  const HostId web = Add("web"), job = Add("job");
  table.AddNeed(web, {job, NeedKind::kCompleted});
  SendSyn(web);
  Report(job, State::kRunning);
  ASSERT_TRUE(activator->Release(job, "im release", now).ok());
  End(job, EndKind::kReleased, "");
  EXPECT_EQ(table[job].state, HostState::kStarting);
  EXPECT_THAT(activator->completed(), IsEmpty());
}

}  // namespace
}  // namespace im::orchestrator
