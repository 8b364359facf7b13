#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "orchestrator/cluster_spec.h"
#include "orchestrator/spec/test_sources.h"

namespace im::orchestrator {
namespace {

ClusterSpec Parse(const std::string& text) {
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
  ClusterSpec spec = Parse(kMixed);
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
  ClusterSpec spec = Parse(kMixed);
  const std::vector<HostSpec> before = Copy(spec.hosts);
  spec.hosts.Compact();
  spec.hosts[3].user = "10";
  EXPECT_FALSE(spec.hosts.compact());
  EXPECT_EQ(std::as_const(spec.hosts)[3].user, "10");
  EXPECT_EQ(std::as_const(spec.hosts)[4], before[4]);
}

TEST(HostListTest, OneHundredThousandReplicasAreAllowedAndOneMoreIsNot) {
  const auto text = [](int replicas) {
    return "network: 10.64.0.0/12\nhosts: {a: {command: [a], replicas: " + std::to_string(replicas) +
           "}}\n";
  };
  ClusterSpec spec = Parse(text(100'000));
  spec.hosts.Compact();
  EXPECT_EQ(std::as_const(spec.hosts)[99'999].name, "a-100000");
  EXPECT_EQ(std::as_const(spec.hosts)[99'999].address.ToString(), "10.65.134.161");
  EXPECT_EQ(ParseClusterSpec(text(100'001), "c.yaml", "/base/shop", FakeSources()).errors.size(), 1u);
}

}  // namespace
}  // namespace im::orchestrator
