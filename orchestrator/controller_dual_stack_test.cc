// network.ipv6: a host is one host by both of its addresses. In virtual time.

#include <gtest/gtest.h>

#include <chrono>

#include "orchestrator/controller.h"
#include "orchestrator/host_view.h"
#include "orchestrator/virtual_cluster.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kDualStackYaml[] = R"(
name: test
network: {cidr: 10.77.0.0/16, ipv6: 'fd00:77::/64'}
defaults:
  idle: {after: 1s, release_after: 10s}
hosts:
  a: {command: [a]}
  b: {command: [b]}
)";

class ControllerDualStackTest : public testing::Test {
 protected:
  bool Is(const std::string& host, HostState state) { return cluster_.StateOf(host) == state; }
  VirtualInstance& Up(const std::string& host) {
    EXPECT_TRUE(cluster_.Wake(host).ok());
    EXPECT_TRUE(cluster_.RunUntil([&] { return Is(host, HostState::kRunning); }));
    return *cluster_.Find(host);
  }
  // By IPv6.
  bool Connects(const std::string& from, const std::string& to) {
    VirtualInstance& client = *cluster_.Find(from);
    const size_t before = client.syn_acks;
    client.SendSyn(cluster_.Address6Of(to), ++port_);
    return cluster_.RunUntil([&] { return client.syn_acks > before; }, milliseconds(500));
  }
  proto::HostInfo Describe(const std::string& host) {
    return DescribeHost(cluster_.controller(), cluster_.Id(host), cluster_.Now(), 0);
  }

  VirtualCluster cluster_{kDualStackYaml};
  uint16_t port_ = 10'000;
};

TEST_F(ControllerDualStackTest, AFirstSynStartsItsHostAndTheNextGoDirectlyByBoth) {
  Up("a");
  ASSERT_TRUE(Connects("a", "b"));
  EXPECT_EQ(cluster_.starts, 2);
  EXPECT_EQ(Describe("b").cause_text(), "SYN from a:10001 to :80");
  ASSERT_TRUE(cluster_.RunUntil([&] {
    return cluster_.Find("a")->Direct(cluster_.Address6Of("b")) &&
           cluster_.Find("b")->Direct(cluster_.Address6Of("a"));
  }));
  EXPECT_TRUE(cluster_.Find("a")->Direct(cluster_.AddressOf("b")));
  const uint64_t before = cluster_.controller().gateway().forwarded_bytes();
  EXPECT_TRUE(Connects("a", "b"));
  EXPECT_TRUE(Connects("b", "a"));
  EXPECT_EQ(cluster_.controller().gateway().forwarded_bytes(), before);
}

TEST_F(ControllerDualStackTest, ADatagramWakesAndIsDelivered) {
  VirtualInstance& a = Up("a");
  a.Send(BuildUdp({cluster_.Address6Of("a"), 5000}, {cluster_.Address6Of("b"), 53}, {}));
  EXPECT_TRUE(Is("b", HostState::kImaginary) || Is("b", HostState::kStarting));
  ASSERT_TRUE(cluster_.RunUntil([&] {
    return cluster_.Find("b") != nullptr && !cluster_.Find("b")->inbox.empty();
  }));
  EXPECT_EQ(ParseIp(cluster_.Find("b")->inbox[0])->source, cluster_.Address6Of("a"));
  EXPECT_EQ(Describe("b").cause_text(), "datagram from a:5000 to :53");
}

TEST_F(ControllerDualStackTest, WhoIsReleasedIsForgottenByBothAddresses) {
  Up("a");
  ASSERT_TRUE(Connects("a", "b"));
  ASSERT_TRUE(cluster_.RunUntil(
      [&] { return cluster_.Find("a")->Direct(cluster_.Address6Of("b")); }));
  cluster_.Find("b")->Pause();
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kReleasing); }, seconds(12)));
  ASSERT_TRUE(cluster_.RunUntil([&] { return Is("b", HostState::kImaginary); }, seconds(12)));
  EXPECT_FALSE(cluster_.Find("a")->Direct(cluster_.Address6Of("b")));
  EXPECT_TRUE(Connects("a", "b"));
  EXPECT_EQ(cluster_.starts, 3);
}

TEST_F(ControllerDualStackTest, ARefusalReachesItsCaller) {
  VirtualInstance& a = Up("a");
  proto::ExitReport fails;
  fails.set_reason(proto::ExitReport::EXEC_FAILED);
  cluster_.behaviour["b"].start_fails = fails;
  a.SendSyn(cluster_.Address6Of("b"), 5000);
  EXPECT_TRUE(cluster_.RunUntil([&] { return a.resets == 1; }));
}

TEST_F(ControllerDualStackTest, BothAddressesAreShown) {
  EXPECT_EQ(Describe("b").address6(), "fd00:77::a4d:3");
  EXPECT_EQ(DescribeCluster(cluster_.controller()).network6(), "fd00:77::/96");
  VirtualCluster v4("name: v4\nhosts: {a: {command: [a]}}\n");
  EXPECT_FALSE(DescribeHost(v4.controller(), 0, v4.Now(), 0).has_address6());
  EXPECT_FALSE(DescribeCluster(v4.controller()).has_network6());
}

TEST_F(ControllerDualStackTest, AnotherImdTakesThemBackWithBoth) {
  Up("a");
  Up("b");
  cluster_.RunFor(seconds(1));
  cluster_.KillImd();
  cluster_.StartImd();
  ASSERT_TRUE(cluster_.RunUntil(
      [&] { return Is("a", HostState::kRunning) && Is("b", HostState::kRunning); }));
  EXPECT_TRUE(Connects("a", "b"));
  EXPECT_EQ(cluster_.starts, 2);
}

}  // namespace
}  // namespace im::orchestrator
