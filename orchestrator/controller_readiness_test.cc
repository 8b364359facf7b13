// Hosts with a healthcheck, and hosts that need others: see virtual_cluster.h.

#include <gtest/gtest.h>

#include <chrono>

#include "orchestrator/virtual_cluster.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kReadinessYaml[] = R"(
name: test
network: {cidr: 10.77.0.0/16}
hosts:
  caller: {command: [a]}
  db: {command: [b]}
  tested: {command: [c], healthcheck: {test: [CMD, t]}}
  job: {command: [d]}
  web: {command: [e], depends_on: {job: {condition: service_completed_successfully}}}
)";

class ControllerReadinessTest : public testing::Test {
 protected:
  bool Is(const std::string& host, HostState state) { return cluster_.StateOf(host) == state; }
  bool Become(const std::string& host, HostState state) {
    return cluster_.RunUntil([&] { return Is(host, state); });
  }
  VirtualInstance& Instance(const std::string& host) { return *cluster_.Find(host); }
  // Nobody has a direct way to `host`.
  bool IsKnownToNobody(const std::string& host) {
    for (const char* other : {"caller", "db"})
      if (Instance(other).Direct(cluster_.AddressOf(host))) return false;
    return true;
  }

  VirtualCluster cluster_{kReadinessYaml};
};

TEST_F(ControllerReadinessTest, a_host_that_is_not_ready_calls_others_and_is_called_by_nobody) {
  ASSERT_TRUE(cluster_.Wake("caller").ok());
  ASSERT_TRUE(Become("caller", HostState::kRunning));
  Instance("caller").SendSyn(cluster_.AddressOf("tested"), 1);
  ASSERT_TRUE(cluster_.RunUntil([&] {
    const auto* instance = cluster_.controller().FindInstance(cluster_.Id("tested"));
    return instance != nullptr && !instance->status.not_ready().empty();
  }));
  VirtualInstance& tested = Instance("tested");
  tested.SendSyn(cluster_.AddressOf("db"), 2);
  ASSERT_TRUE(cluster_.RunUntil([&] { return tested.syn_acks == 1; }));
  tested.SendSyn(cluster_.AddressOf("db"), 3);
  ASSERT_TRUE(cluster_.RunUntil([&] { return tested.syn_acks == 2; }));
  cluster_.RunFor(seconds(10));
  EXPECT_TRUE(Is("tested", HostState::kStarting));
  EXPECT_EQ(tested.syns, 0u);
  EXPECT_TRUE(IsKnownToNobody("tested"));

  tested.BecomeReady();
  ASSERT_TRUE(Become("tested", HostState::kRunning));
  EXPECT_TRUE(cluster_.RunUntil([&] { return Instance("caller").syn_acks == 1; }));
  EXPECT_EQ(tested.syns, 1u);
  EXPECT_TRUE(cluster_.RunUntil([&] { return !IsKnownToNobody("tested"); }));
}

TEST_F(ControllerReadinessTest, a_restarted_orchestrator_waits_for_it_too) {
  for (const char* host : {"caller", "db", "tested"}) ASSERT_TRUE(cluster_.Wake(host).ok());
  ASSERT_TRUE(Become("db", HostState::kRunning));
  cluster_.RunFor(seconds(1));
  cluster_.KillImd();
  cluster_.StartImd();
  ASSERT_TRUE(Become("caller", HostState::kRunning));
  Instance("caller").SendSyn(cluster_.AddressOf("tested"), 1);
  cluster_.RunFor(seconds(1));
  EXPECT_TRUE(Is("tested", HostState::kStarting));
  EXPECT_TRUE(IsKnownToNobody("tested"));
  Instance("tested").BecomeReady();
  EXPECT_TRUE(Become("tested", HostState::kRunning));
  EXPECT_EQ(cluster_.starts, 3);
}

TEST_F(ControllerReadinessTest, what_has_completed_is_not_run_again_by_a_restarted_orchestrator) {
  ASSERT_TRUE(cluster_.Wake("web").ok());
  ASSERT_TRUE(Become("job", HostState::kRunning));
  EXPECT_TRUE(Is("web", HostState::kImaginary));
  Instance("job").Exit(0);
  ASSERT_TRUE(Become("web", HostState::kRunning));
  cluster_.RunFor(seconds(1));
  cluster_.KillImd();
  cluster_.StartImd();
  ASSERT_TRUE(Become("web", HostState::kRunning));
  ASSERT_TRUE(cluster_.controller().Release(cluster_.Id("web"), "im release").ok());
  ASSERT_TRUE(Become("web", HostState::kImaginary));
  ASSERT_TRUE(cluster_.Wake("web").ok());
  EXPECT_TRUE(Become("web", HostState::kRunning));
  EXPECT_EQ(cluster_.starts, 3);
}

}  // namespace
}  // namespace im::orchestrator
