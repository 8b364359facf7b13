#include "orchestrator/agent/group_disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace im::agent {
namespace {

using proto::DesiredState;
using DiskState = GroupDisk::State;
using testing::ElementsAre;
using testing::IsEmpty;

class GroupDiskTest : public testing::Test, public GroupDisk::Delegate {
 protected:
  absl::Status BeginGroupDump() override { return Said("dump"); }
  absl::Status CommitDump() override { return Said("commit"); }
  void DiscardDump() override { calls_.push_back("discard"); }
  void OnLoose() override { calls_.push_back("loose"); }
  void NotCheckpointed(const absl::Status& why) override {
    calls_.push_back("not: " + std::string(why.message()));
  }
  absl::Status Said(const char* what) {
    calls_.push_back(what);
    return std::exchange(next_, absl::OkStatus());
  }
  std::vector<std::string> Take() { return std::exchange(calls_, {}); }
  void Dump() {
    disk_.Hold();
    EXPECT_TRUE(disk_.OnStep(DesiredState::DUMP));
    disk_.OnDumpEnded(absl::OkStatus());
    EXPECT_EQ(disk_.state(), DiskState::kDumped);
    Take();
  }

  GroupDisk disk_{*this};
  absl::Status next_;
  std::vector<std::string> calls_;
};

TEST_F(GroupDiskTest, GoesToDiskStepByStep) {
  disk_.Hold();
  EXPECT_EQ(disk_.Describe(), proto::InstanceStatus::HELD);
  EXPECT_TRUE(disk_.OnStep(DesiredState::COMMIT));
  EXPECT_THAT(Take(), IsEmpty()) << "there is no copy";
  EXPECT_TRUE(disk_.OnStep(DesiredState::DUMP));
  EXPECT_TRUE(disk_.OnStep(DesiredState::DUMP));
  EXPECT_THAT(Take(), ElementsAre("dump"));
  EXPECT_EQ(disk_.Describe(), proto::InstanceStatus::DUMPING);
  EXPECT_TRUE(disk_.OnStep(DesiredState::COMMIT));
  EXPECT_THAT(Take(), IsEmpty()) << "it is not whole";
  disk_.OnDumpEnded(absl::OkStatus());
  EXPECT_EQ(disk_.Describe(), proto::InstanceStatus::DUMPED);
  EXPECT_TRUE(disk_.OnStep(DesiredState::COMMIT));
  EXPECT_THAT(Take(), ElementsAre("commit"));
}

TEST_F(GroupDiskTest, WhoWasNeverHeldTakesNoStep) {
  EXPECT_FALSE(disk_.OnStep(DesiredState::DUMP));
  disk_.OnRestored();
  EXPECT_FALSE(disk_.OnStep(DesiredState::DUMP));
  EXPECT_THAT(Take(), IsEmpty());
}

TEST_F(GroupDiskTest, WhoWasRestoredIsLooseWhenAskedToBeHeldAnew) {
  disk_.OnRestored();
  disk_.OnHoldAsked();
  EXPECT_EQ(disk_.state(), DiskState::kNotHeld);
  EXPECT_THAT(Take(), ElementsAre("loose"));
  Dump();
  disk_.OnHoldAsked();
  EXPECT_EQ(disk_.state(), DiskState::kDumped) << "said again";
  EXPECT_THAT(Take(), IsEmpty());
}

TEST_F(GroupDiskTest, WhatFailsLeavesItHeld) {
  disk_.Hold();
  next_ = absl::InternalError("no room");
  EXPECT_TRUE(disk_.OnStep(DesiredState::DUMP));
  EXPECT_THAT(Take(), ElementsAre("dump", "not: no room"));
  EXPECT_EQ(disk_.state(), DiskState::kHeld);
  disk_.OnStep(DesiredState::DUMP);
  disk_.OnDumpEnded(absl::InternalError("CRIU"));
  EXPECT_THAT(Take(), ElementsAre("dump", "not: CRIU"));
  EXPECT_EQ(disk_.state(), DiskState::kHeld);
  Dump();
  next_ = absl::InternalError("full");
  disk_.OnStep(DesiredState::COMMIT);
  EXPECT_THAT(Take(), ElementsAre("commit", "not: full"));
  EXPECT_EQ(disk_.state(), DiskState::kHeld);
}

TEST_F(GroupDiskTest, ACopyOfWhatRunsAgainIsThrownAway) {
  Dump();
  disk_.OnCalledOff(/*stay_held=*/true);
  EXPECT_THAT(Take(), ElementsAre("discard"));
  EXPECT_EQ(disk_.state(), DiskState::kHeld);
  disk_.OnCalledOff(/*stay_held=*/false);
  EXPECT_THAT(Take(), ElementsAre("loose"));
  Dump();
  disk_.OnCalledOff(/*stay_held=*/false);
  EXPECT_THAT(Take(), ElementsAre("discard", "loose"));
  EXPECT_FALSE(disk_.held());
}

TEST_F(GroupDiskTest, ADumpThatWasBegunIsAwaited) {
  disk_.Hold();
  disk_.OnStep(DesiredState::DUMP);
  Take();
  disk_.OnCalledOff(/*stay_held=*/false);
  EXPECT_THAT(Take(), IsEmpty());
  EXPECT_EQ(disk_.state(), DiskState::kDumping);
}

TEST_F(GroupDiskTest, WhoWasRestoredRunsWhenAllMay) {
  disk_.OnRestored();
  EXPECT_EQ(disk_.Describe(), proto::InstanceStatus::HELD);
  disk_.OnCalledOff(/*stay_held=*/true);
  EXPECT_THAT(Take(), IsEmpty());
  disk_.OnCalledOff(/*stay_held=*/false);
  EXPECT_THAT(Take(), ElementsAre("loose"));
}

}  // namespace
}  // namespace im::agent
