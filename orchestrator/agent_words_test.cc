#include "orchestrator/agent_words.h"

#include <gtest/gtest.h>

namespace im::orchestrator {
namespace {

using Goal = Activator::Goal;
using Report = Activator::Report;
using proto::DesiredState;
using proto::InstanceStatus;

TEST(AgentWordsTest, GoalsOfAGroupOnItsWayToDisk) {
  for (const Goal goal : {Goal::kReleaseIfIdle, Goal::kDump, Goal::kCommit})
    EXPECT_EQ(GoalOf(goal), DesiredState::RELEASE_IF_IDLE);
  for (const Goal goal : {Goal::kRun, Goal::kStay, Goal::kLoosen})
    EXPECT_EQ(GoalOf(goal), DesiredState::RUN);
  EXPECT_EQ(GoalOf(Goal::kKill), DesiredState::RELEASE);
  EXPECT_EQ(StepOf(Goal::kReleaseIfIdle), DesiredState::HOLD);
  EXPECT_EQ(StepOf(Goal::kDump), DesiredState::DUMP);
  EXPECT_EQ(StepOf(Goal::kCommit), DesiredState::COMMIT);
}

TEST(AgentWordsTest, AStatusIsAReport) {
  InstanceStatus status;
  status.set_state(InstanceStatus::PAUSED);
  status.set_program_pid(7);
  status.set_thaws(3);
  status.set_timer_in_ms(UINT64_MAX);
  status.set_paused_for_ms(40);
  status.set_not_checkpointed("a device");
  status.set_disk(InstanceStatus::DUMPED);
  status.mutable_group()->set_waking(true);
  const Report report = ReportOf(status);
  EXPECT_EQ(report.state, Report::State::kPaused);
  EXPECT_FALSE(report.program_ended);
  EXPECT_EQ(report.thaws, 3u);
  EXPECT_LT(*report.timer_in, std::chrono::hours(24 * 3'661));  // a sum with now is one yet
  EXPECT_EQ(report.paused_for, std::chrono::milliseconds(40));
  EXPECT_EQ(report.not_checkpointed, "a device");
  EXPECT_EQ(report.disk, Report::Disk::kDumped);
  EXPECT_TRUE(report.waking);
}

TEST(AgentWordsTest, WhatANewerAgentSaysIsTakenForTheUsual) {
  InstanceStatus status;
  status.set_state(static_cast<InstanceStatus::State>(99));
  status.set_disk(static_cast<InstanceStatus::Disk>(99));
  EXPECT_EQ(ReportOf(status).state, Report::State::kRunning);
  EXPECT_EQ(ReportOf(status).disk, Report::Disk::kNotHeld);
}

}  // namespace
}  // namespace im::orchestrator
