#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "orchestrator/cluster_spec.h"
#include "orchestrator/spec/test_sources.h"

namespace im::orchestrator {
namespace {

ClusterSpec ParseHosts(const std::string& text) {
  ParsedClusterSpec parsed = ParseClusterSpec(text, "c.yaml", "/base/shop", FakeSources());
  EXPECT_THAT(Lines(parsed.errors), testing::IsEmpty());
  return parsed.spec.value_or(ClusterSpec());
}

std::vector<HostSpec> Copy(const HostList& hosts) {
  std::vector<HostSpec> copy;
  for (const HostSpec& host : hosts) copy.push_back(host);
  return copy;
}

constexpr char kMixed[] = R"(
network: 10.9.0.0/24
defaults: {group: all, volumes: ["data:/data"], environment: {A: b}}
groups: {all: {}}
hosts:
  web-7: {command: [a], ports: ["8080:80"], aliases: [www], hostname: other}
  fixed: {command: [a], address: 10.9.0.5}
  zk: {command: [b, c], replicas: 5, min_running: 2, wake_with: [zk, web-7]}
  one: {command: [d], replicas: 1}
  zk-x: {command: [b], replicas: 3, depends_on: [zk]}
)";

TEST(HostListTest, ACompactListLosesNothing) {
  ClusterSpec spec = ParseHosts(kMixed);
  const std::vector<HostSpec> before = Copy(spec.hosts);
  ASSERT_EQ(before.size(), 11u);
  spec.hosts.Compact();
  ASSERT_TRUE(spec.hosts.compact());
  const HostList& hosts = spec.hosts;
  EXPECT_EQ(hosts.size(), before.size());
  EXPECT_EQ(Copy(hosts), before);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(hosts[i], before[i]) << before[i].name;
  EXPECT_EQ(spec.FindHost("zk-4")->address.ToString(), "10.9.0.7");
  EXPECT_EQ(spec.FindHost("zk-6"), std::nullopt);
}

TEST(HostListTest, AChangeMakesItWholeAgain) {
  ClusterSpec spec = ParseHosts(kMixed);
  const std::vector<HostSpec> before = Copy(spec.hosts);
  spec.hosts.Compact();
  spec.hosts[3].user = "10";
  EXPECT_FALSE(spec.hosts.compact());
  EXPECT_EQ(std::as_const(spec.hosts)[3].user, "10");
  EXPECT_EQ(std::as_const(spec.hosts)[4], before[4]);
}

TEST(HostListTest, ReplicasThatAreSetApartBecomeOneAgainWhereTheyAreEqual) {
  ClusterSpec spec = ParseHosts(kMixed);
  ASSERT_TRUE(spec.hosts.compact()) << "as the parser makes it";
  const std::vector<HostSpec> before = Copy(spec.hosts);
  const HostList& hosts = spec.hosts;
  for (size_t i : {3u, 2u, 4u, 0u}) spec.hosts.Apart(i).user = "10";
  for (size_t i = 0; i < before.size(); ++i) {
    HostSpec expected = before[i];
    if (i == 0 || (i >= 2 && i <= 4)) expected.user = "10";
    EXPECT_EQ(hosts[i], expected) << i;
  }
  const std::vector<HostSpec> changed = Copy(hosts);
  spec.hosts.Compact();
  EXPECT_EQ(Copy(hosts), changed);
  EXPECT_TRUE(hosts.compact());
}

TEST(HostListTest, AReplicaThatIsAddedIsAsTheLastHostButForNameAndAddress) {
  HostList list;
  HostSpec host;
  host.name = host.hostname = "a-1";
  host.service = "a";
  host.user = "10";
  list.push_back(host);
  list.AddReplica(2);
  list.SetAddress(0, *IpAddress::Parse("10.0.0.2"));
  list.SetAddress(1, *IpAddress::Parse("10.0.0.9"));
  const HostSpec second = std::as_const(list)[1];
  EXPECT_EQ(second.name, "a-2");
  EXPECT_EQ(second.hostname, "a-2");
  EXPECT_EQ(second.user, "10");
  EXPECT_EQ(second.address.ToString(), "10.0.0.9");
  EXPECT_EQ(std::as_const(list)[0].address.ToString(), "10.0.0.2");
}

TEST(HostListTest, NamesThatOnlyLookLikeReplicasAreFree) {
  const ClusterSpec spec = ParseHosts(
      "hosts:\n  zk: {command: [b], replicas: 3, aliases: [zk-x-1]}\n  zk-0: {command: [a]}\n"
      "  zk-4: {command: [a], wake_with: zk-2}\n  zk-02: {command: [a]}\n"
      "  zk-1-1: {command: [a]}\n  one: {command: [a]}\n  one-1: {command: [a]}\n");
  EXPECT_EQ(spec.hosts.size(), 9u);
  EXPECT_THAT(spec.FindHost("zk-4")->wake_with, testing::ElementsAre("zk-2"));
}

TEST(HostListTest, AMillionReplicasAreAllowedAndOneMoreIsNot) {
  const auto text = [](int replicas) {
    return "network: 10.64.0.0/12\nhosts: {a: {command: [a], replicas: " + std::to_string(replicas) +
           "}}\n";
  };
  ClusterSpec spec = ParseHosts(text(1'000'000));
  EXPECT_EQ(std::as_const(spec.hosts)[999'999].name, "a-1000000");
  EXPECT_EQ(std::as_const(spec.hosts)[999'999].address.ToString(), "10.79.66.65");
  const auto more = ParseClusterSpec(text(1'000'001), "c.yaml", "/base/shop", FakeSources());
  EXPECT_EQ(more.errors.size(), 1u);
}

}  // namespace
}  // namespace im::orchestrator
