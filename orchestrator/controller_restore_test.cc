// An imd that died before it had saved what it knew: see virtual_cluster.h.

#include <gtest/gtest.h>

#include <chrono>

#include "orchestrator/virtual_cluster.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kRestoreYaml[] = R"(
name: test
network: {cidr: 10.77.0.0/16}
hosts:
  a: {command: [a]}
)";

class ControllerRestoreTest : public testing::Test {
 protected:
  // `a` is up, and paused; imd has saved nothing since it began to start it.
  void Begin() {
    cluster_.behaviour["a"].start = milliseconds(50);
    ASSERT_TRUE(cluster_.Wake("a").ok());
    cluster_.RunFor(milliseconds(10));
    ASSERT_EQ(cluster_.saved().instances_size(), 1);
    cluster_.saves = false;
    ASSERT_TRUE(Become(HostState::kRunning));
    cluster_.Find("a")->Pause();
    ASSERT_TRUE(Become(HostState::kPaused));
    ASSERT_EQ(cluster_.saved().instances(0).endpoint(), "");
  }
  bool Become(HostState state) {
    return cluster_.RunUntil([&] { return cluster_.StateOf("a") == state; }, seconds(7));
  }

  VirtualCluster cluster_{kRestoreYaml};
};

TEST_F(ControllerRestoreTest, a_paused_host_is_found_though_nothing_was_saved_since_its_start) {
  Begin();
  cluster_.KillImd();
  cluster_.saves = true;
  cluster_.StartImd();
  EXPECT_TRUE(Become(HostState::kPaused));
  EXPECT_EQ(cluster_.starts, 1);
  EXPECT_NE(cluster_.saved().instances(0).endpoint(), "");
}

TEST_F(ControllerRestoreTest, what_was_noted_of_an_earlier_instance_does_not_count) {
  Begin();
  cluster_.saves = true;
  cluster_.KillInstance("a");
  ASSERT_TRUE(Become(HostState::kImaginary));
  ASSERT_TRUE(cluster_.Wake("a").ok());
  cluster_.loss = 1;
  ASSERT_TRUE(cluster_.RunUntil([&] { return cluster_.Find("a") != nullptr; }));
  cluster_.KillImd();
  cluster_.loss = 0;
  cluster_.StartImd();
  EXPECT_TRUE(Become(HostState::kRunning));
  EXPECT_EQ(cluster_.starts, 2);
}

TEST(ControllerRestoreAgeTest, an_instance_is_as_old_as_it_was) {
  VirtualCluster cluster(
      "name: test\nnetwork: {cidr: 10.77.0.0/16}\n"
      "hosts: {a: {command: [a], max_lifetime: 60s}}\n");
  const auto runs = [&] { return cluster.StateOf("a") == HostState::kRunning; };
  ASSERT_TRUE(cluster.Wake("a").ok());
  ASSERT_TRUE(cluster.RunUntil(runs));
  cluster.RunFor(seconds(40));
  cluster.KillImd();
  cluster.StartImd();
  ASSERT_TRUE(cluster.RunUntil(runs, seconds(7)));
  EXPECT_EQ(cluster.starts, 1);
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.starts == 2; }, seconds(21)));
}

TEST(ControllerRestoreAgeTest, an_instance_that_was_being_renewed_is_followed_by_another) {
  VirtualCluster cluster(
      "name: test\nnetwork: {cidr: 10.77.0.0/16}\n"
      "hosts: {a: {command: [a], max_lifetime: 60s}}\n");
  cluster.behaviour["a"].stop = seconds(1);
  const auto become = [&](HostState state) {
    return cluster.RunUntil([&] { return cluster.StateOf("a") == state; }, seconds(61));
  };
  ASSERT_TRUE(cluster.Wake("a").ok());
  ASSERT_TRUE(become(HostState::kRunning));
  ASSERT_TRUE(become(HostState::kReleasing));
  cluster.RunFor(milliseconds(500));
  ASSERT_TRUE(cluster.saved().instances(0).renews());
  cluster.KillImd();
  cluster.StartImd();
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.starts == 2; }, seconds(10)));
  EXPECT_TRUE(become(HostState::kRunning));
}

// `a` has failed twice, and is to be started again after the back-off.
class ControllerRestartTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(cluster_.Wake("a").ok());
    for (int starts = 1; starts <= 2; ++starts) {
      ASSERT_TRUE(cluster_.RunUntil([&] { return cluster_.starts == starts; }));
      ASSERT_TRUE(Become(HostState::kRunning));
      cluster_.Find("a")->Exit(1);
    }
    ASSERT_TRUE(Become(HostState::kImaginary));
    cluster_.RunFor(milliseconds(1));
    ASSERT_EQ(cluster_.saved().to_start_size(), 1);
  }
  bool Become(HostState state) {
    return cluster_.RunUntil([&] { return cluster_.StateOf("a") == state; }, seconds(7));
  }

  VirtualCluster cluster_{
      "name: test\nnetwork: {cidr: 10.77.0.0/16}\nhosts: {a: {command: [a], restart: on-failure}}\n"};
};

TEST_F(ControllerRestartTest, who_was_to_be_started_again_is_so_by_the_next_imd) {
  cluster_.KillImd();
  cluster_.StartImd();
  EXPECT_TRUE(Become(HostState::kRunning));
  EXPECT_EQ(cluster_.starts, 3);
  cluster_.RunFor(milliseconds(1));
  EXPECT_EQ(cluster_.saved().to_start_size(), 0);
}

TEST_F(ControllerRestartTest, who_was_released_meanwhile_is_not) {
  ASSERT_TRUE(cluster_.controller().Release(cluster_.Id("a"), "im release").ok());
  cluster_.RunFor(milliseconds(1));
  ASSERT_EQ(cluster_.saved().to_start_size(), 0);
  cluster_.KillImd();
  cluster_.StartImd();
  cluster_.RunFor(seconds(10));
  EXPECT_EQ(cluster_.starts, 2);
}

}  // namespace
}  // namespace im::orchestrator
