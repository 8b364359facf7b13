#include <gmock/gmock.h>

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

class ActivatorLifetimeTest : public ActivatorFixture {
 protected:
  void Pause(HostId host, uint32_t connections, std::optional<Duration> timer_in = std::nullopt) {
    Activator::Report report;
    report.state = State::kPaused;
    report.connections = connections;
    report.timer_in = timer_in;
    activator->OnInstanceStatus(host, table[host].incarnation, report, now);
  }
};

TEST_F(ActivatorLifetimeTest, AtItsEndAHostInUseIsStoppedAndStartedAgain) {
  const HostId db = Add("db", {.max_lifetime = hours(1)});
  Bring(db, HostState::kRunning);
  EXPECT_EQ(activator->outlook(db, now).ends_at, now + hours(1));
  Advance(hours(1) - seconds(1));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Advance(seconds(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("db running > releasing", "goal db#1 release"));
  EXPECT_EQ(recorder.last.reason, "max_lifetime of 1h");
  EXPECT_EQ(SendSyn(db), Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), IsEmpty()) << "never two of them";
  End(db, EndKind::kReleased, "");
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db releasing > imaginary", "db imaginary > starting", "start db#2"));
  Report(db, State::kRunning);
  EXPECT_THAT(recorder.Take(), ElementsAre("db starting > running", "deliver db 1"));
  // The new one lives as long.
  Advance(hours(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("db running > releasing", "goal db#2 release"));
  // Nobody waits for this one.
  End(db, EndKind::kReleased, "");
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db releasing > imaginary", "db imaginary > starting", "start db#3"));
}

TEST_F(ActivatorLifetimeTest, ShortlyBeforeItsEndItIsReleasedWhileItSleepsWithoutConnections) {
  const HostId db = Add("db", {.release_after = std::nullopt, .max_lifetime = hours(1)});
  Bring(db, HostState::kRunning);
  Advance(minutes(10));
  Pause(db, 0);
  recorder.Take();
  Advance(minutes(49) - seconds(1));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Advance(seconds(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("db paused > releasing", "goal db#1 release if idle"));
  EXPECT_EQ(recorder.last.reason, "max_lifetime of 1h is nearly over");
  // It is in use after all, until it sleeps again.
  Report(db, State::kReleaseRefused, /*acknowledged=*/true);
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > running"));
  Advance(seconds(5));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Pause(db, 0);
  Advance(Duration(0));
  EXPECT_THAT(recorder.Take(), ElementsAre("db running > paused", "db paused > releasing",
                                           "goal db#1 release if idle"));
  // It is never to be released for sleeping.
  End(db, EndKind::kReleased, "");
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db releasing > imaginary", "db imaginary > starting", "start db#2"));
}

TEST_F(ActivatorLifetimeTest, TheLeadIsATenthOfAShortLife) {
  const HostId db = Add("db", {.max_lifetime = seconds(100)});
  Bring(db, HostState::kRunning);
  Pause(db, 0);
  recorder.Take();
  Advance(seconds(90) - Duration(1));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Advance(Duration(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("db paused > releasing", "goal db#1 release if idle"));
}

TEST_F(ActivatorLifetimeTest, OpenConnectionsAreCutAtTheEndAlone) {
  const HostId db = Add("db", {.release_after = hours(2), .max_lifetime = hours(1)});
  Bring(db, HostState::kRunning);
  Pause(db, 1);
  recorder.Take();
  Advance(hours(1) - seconds(1));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Advance(seconds(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("db paused > releasing", "goal db#1 release"));
}

TEST_F(ActivatorLifetimeTest, WhoSleepsIsStartedWhenItIsWanted) {
  const HostId db = Add("db", {.release_after = hours(2), .max_lifetime = hours(1)});
  Bring(db, HostState::kPaused);
  Advance(minutes(59));
  EXPECT_THAT(recorder.Take(), ElementsAre("db paused > releasing", "goal db#1 release if idle"));
  End(db, EndKind::kReleased, "");
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > imaginary"));
  // One that somebody wants meanwhile.
  Bring(db, HostState::kPaused);
  Advance(minutes(59));
  EXPECT_EQ(SendSyn(db), Verdict::kHeld);
  recorder.Take();
  End(db, EndKind::kReleased, "");
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db releasing > imaginary", "db imaginary > starting", "start db#3"));
}

TEST_F(ActivatorLifetimeTest, WhoSleepsUntilATimerIsStartedAgain) {
  const HostId db = Add("db", {.max_lifetime = hours(1)});
  Bring(db, HostState::kRunning);
  Pause(db, 0, hours(5));
  Advance(minutes(59));
  recorder.Take();
  End(db, EndKind::kReleased, "");
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db releasing > imaginary", "db imaginary > starting", "start db#2"));
}

// ---- jobs ----

class ActivatorJobLifetimeTest : public ActivatorLifetimeTest {
 protected:
  // `web` waits for the job, which runs.
  void Begin(const HostPolicy& policy) {
    web_ = Add("web");
    job_ = Add("job", policy);
    table.AddNeed(web_, {job_, HostTable::Need::Kind::kCompleted});
    SendSyn(web_);
    Report(job_, State::kRunning);
    recorder.Take();
  }
  HostId web_ = kNoHost, job_ = kNoHost;
};

TEST_F(ActivatorJobLifetimeTest, AJobThatIsNotDoneAtTheEndHasFailed) {
  Begin({.max_lifetime = seconds(20)});
  EXPECT_TRUE(activator->outlook(job_, now).fails_then);
  Advance(seconds(20));
  EXPECT_THAT(recorder.Take(), ElementsAre("job running > releasing", "goal job#1 release"));
  const std::string why = "it did not complete within its max_lifetime of 20s";
  EXPECT_EQ(recorder.last.reason, why);
  End(job_, EndKind::kReleased, "");
  EXPECT_THAT(recorder.Take(),
              ElementsAre("job releasing > imaginary",
                          "refuse web 1 over: it needs job to have completed: " + why));
  EXPECT_EQ(table[job_].history->last_error, why);
  EXPECT_EQ(activator->outlook(job_, now).failures, 1u);
  // Whoever wants it again begins it anew.
  SendSyn(web_, 2);
  EXPECT_THAT(recorder.Take(), ElementsAre("wait web: it needs job to have completed",
                                           "job imaginary > starting", "start job#2"));
}

TEST_F(ActivatorJobLifetimeTest, AJobThatCompletesAsItIsStoppedHasCompleted) {
  Begin({.max_lifetime = seconds(20)});
  Advance(seconds(20));
  End(job_, EndKind::kExited, "exited with status 0");
  EXPECT_EQ(table[job_].state, HostState::kImaginary);
  EXPECT_EQ(table[web_].state, HostState::kStarting);
}

TEST_F(ActivatorJobLifetimeTest, ItsRestartPolicySaysWhatFollows) {
  Begin({.restart = HostPolicy::Restart::kOnFailure, .max_lifetime = seconds(20)});
  Advance(seconds(20));
  End(job_, EndKind::kReleased, "");
  EXPECT_EQ(table[job_].state, HostState::kStarting);
  Report(job_, State::kRunning);
  End(job_, EndKind::kExited, "exited with status 0");
  EXPECT_EQ(table[web_].state, HostState::kStarting);
}

TEST_F(ActivatorJobLifetimeTest, AJobThatSleepsIsNotStoppedBeforeTheEnd) {
  Begin({.release_after = std::nullopt, .max_lifetime = seconds(20)});
  Pause(job_, 0);
  recorder.Take();
  Advance(seconds(20) - Duration(1));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Advance(Duration(1));
  EXPECT_THAT(recorder.Take(), ElementsAre("job paused > releasing", "goal job#1 release"));
}

TEST_F(ActivatorJobLifetimeTest, AJobThatGoesToDiskIsMovedAsAnyOther) {
  Begin({.to_disk = true, .max_lifetime = seconds(20)});
  EXPECT_FALSE(activator->outlook(job_, now).fails_then);
  Advance(seconds(20));
  EXPECT_THAT(recorder.Take(), ElementsAre("job running > releasing", "goal job#1 move"));
}

// ----

TEST_F(ActivatorLifetimeTest, WhoDoesNotAnswerIsStoppedAtTheEnd) {
  const HostId db = Add("db", {.release_after = std::nullopt,
                               .stop_timeout = minutes(5),
                               .max_lifetime = hours(1)});
  Bring(db, HostState::kPaused);
  Advance(minutes(59));
  EXPECT_EQ(SendSyn(db), Verdict::kHeld);
  EXPECT_THAT(recorder.Take(), ElementsAre("db paused > releasing", "goal db#1 release if idle",
                                           "goal db#1 run"));
  Advance(seconds(20));
  EXPECT_THAT(recorder.Take(), IsEmpty());
  Advance(seconds(40));
  EXPECT_EQ(recorder.Take().back(), "goal db#1 release");
  Advance(minutes(5));
  EXPECT_THAT(recorder.Take(), ElementsAre("goal db#1 kill"));
  End(db, EndKind::kFailed, "killed");
  EXPECT_EQ(table[db].state, HostState::kStarting);
}

TEST_F(ActivatorLifetimeTest, AFreshStartThatFailsIsAFailedStart) {
  const HostId db = Add("db", {.max_lifetime = hours(1)});
  Bring(db, HostState::kRunning);
  Advance(hours(1));
  EXPECT_EQ(SendSyn(db), Verdict::kHeld);
  End(db, EndKind::kReleased, "");
  recorder.Take();
  End(db, EndKind::kFailed, "exec db: No such file or directory");
  EXPECT_THAT(recorder.Take(),
              ElementsAre("db starting > imaginary",
                          "refuse db 1 over: start failed: exec db: No such file or directory"));
  EXPECT_EQ(activator->outlook(db, now).failures, 1u);
}

TEST_F(ActivatorLifetimeTest, WhoIsReleasedOnRequestMeanwhileIsNotStartedAgain) {
  const HostId db = Add("db", {.max_lifetime = hours(1)});
  Bring(db, HostState::kRunning);
  Advance(hours(1));
  recorder.Take();
  EXPECT_TRUE(activator->Release(db, "im release", now).ok());
  End(db, EndKind::kReleased, "");
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > imaginary"));
  // Nor is one at the end of the cluster.
  Bring(db, HostState::kRunning);
  Advance(hours(1));
  activator->Shutdown("im down", /*force=*/false, now);
  recorder.Take();
  End(db, EndKind::kReleased, "");
  EXPECT_THAT(recorder.Take(), ElementsAre("db releasing > imaginary"));
  EXPECT_EQ(activator->active(), 0u);
}

TEST_F(ActivatorLifetimeTest, WhoRunsWithIsNotReleasedMeanwhile) {
  const HostId web = Add("web", {.max_lifetime = hours(1)});
  const HostId worker = Add("worker", {.release_after = minutes(1)});
  table.AddFollower(web, worker, Cause::Kind::kWakeWith);
  Bring(web, HostState::kRunning);
  Report(worker, State::kRunning);
  Report(worker, State::kPaused);
  Advance(hours(1));
  EXPECT_EQ(table[web].state, HostState::kReleasing);
  EXPECT_EQ(activator->outlook(worker, now).kept_by, web);
  recorder.Take();
  End(web, EndKind::kReleased, "");
  Advance(seconds(1));
  EXPECT_EQ(table[worker].state, HostState::kPaused);
  EXPECT_EQ(table[web].state, HostState::kStarting);
}

TEST_F(ActivatorLifetimeTest, WhoIsTakenBackIsAsOldAsItWas) {
  const HostId db = Add("db", {.max_lifetime = hours(1)});
  activator->Adopt(db, 7, Cause(), now, hours(30));
  Report(db, State::kPaused);
  recorder.Take();
  Advance(Duration(0));
  EXPECT_THAT(recorder.Take(), ElementsAre("db paused > releasing", "goal db#7 release"));
}

TEST_F(ActivatorLifetimeTest, WhoWasBeingRenewedIsStartedAgainByTheNextOrchestrator) {
  const HostId db = Add("db", {.max_lifetime = hours(1)});
  Bring(db, HostState::kRunning);
  EXPECT_FALSE(activator->renews(db));
  Advance(hours(1));
  ASSERT_TRUE(activator->renews(db));
  const HostId on_its_way = Add("a"), gone = Add("b"), runs = Add("c");
  activator->Adopt(on_its_way, 11, Cause(), now, hours(1), /*renews=*/true);
  activator->Adopt(gone, 12, Cause(), now, hours(1), /*renews=*/true);
  activator->Adopt(runs, 13, Cause(), now, hours(1), /*renews=*/true);
  Report(on_its_way, State::kReleasing);
  Report(runs, State::kRunning);
  for (const HostId host : {on_its_way, gone, runs}) End(host, EndKind::kReleased, "");
  EXPECT_EQ(table[on_its_way].state, HostState::kStarting);
  EXPECT_EQ(table[gone].state, HostState::kStarting);
  EXPECT_EQ(activator->outlook(gone, now).failures, 0u);
  EXPECT_EQ(table[runs].state, HostState::kImaginary) << "it had not heard of it";
}

TEST_F(ActivatorLifetimeTest, WhoFollowsALeaderThatIsTakenBackAndRunsIsStarted) {
  const HostId web = Add("web"), worker = Add("worker"), batch = Add("batch");
  table.AddFollower(web, worker, Cause::Kind::kWakeWith);
  table.AddFollower(web, batch, Cause::Kind::kDependsOn);
  activator->Adopt(web, 7, Cause(), now);
  Report(web, State::kRunning);
  EXPECT_EQ(table[worker].state, HostState::kStarting);
  EXPECT_EQ(table[batch].state, HostState::kImaginary);
}

TEST_F(ActivatorLifetimeTest, WhoFollowsALeaderThatIsTakenBackAndSleepsIsNot) {
  const HostId web = Add("web"), worker = Add("worker");
  table.AddFollower(web, worker, Cause::Kind::kWakeWith);
  activator->Adopt(web, 7, Cause(), now);
  Report(web, State::kPaused);
  EXPECT_EQ(table[worker].state, HostState::kImaginary);
}

TEST_F(ActivatorLifetimeTest, MembersOfAGroupAreNotRenewed) {
  const HostId a = Add("a", {.max_lifetime = hours(1)});
  const HostId b = Add("b", {.max_lifetime = hours(1)});
  table.AddGroup("g", {a, b});
  Bring(a, HostState::kRunning);
  Advance(hours(2));
  EXPECT_EQ(table[a].state, HostState::kRunning);
  EXPECT_EQ(activator->outlook(a, now).ends_at, std::nullopt);
}

}  // namespace
}  // namespace im::orchestrator
