// The metrics of a cluster in virtual time.

#include "orchestrator/cluster_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "orchestrator/test_packets.h"
#include "orchestrator/virtual_cluster.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

constexpr char kMetricsYaml[] = R"(
name: shop
network: 10.77.0.0/24
hosts:
  web: {command: [web]}
  db: {command: [db]}
  old: {command: [old]}
)";

std::string Metrics(VirtualCluster& cluster, const EdgeFigures& edge = {}) {
  return ClusterMetrics(cluster.controller(), edge, cluster.loop().now());
}

void Wake(VirtualCluster& cluster, const std::string& host) {
  ASSERT_TRUE(cluster.Wake(host).ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.StateOf(host) == HostState::kRunning; }));
}

TEST(ClusterMetrics, TellsWakesAndStates) {
  VirtualCluster cluster(kMetricsYaml);
  cluster.RunFor(seconds(10));
  Wake(cluster, "web");
  cluster.Find("web")->SendSyn(cluster.AddressOf("db"), 4000);
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.StateOf("db") == HostState::kRunning; }));
  cluster.RunFor(seconds(1));
  const std::string text = Metrics(cluster);
  EXPECT_THAT(text, HasSubstr("im_info{cluster=\"shop\",version=\""));
  EXPECT_THAT(text, HasSubstr("im_hosts_configured 3\n"));
  EXPECT_THAT(text, HasSubstr("im_hosts{state=\"running\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("im_hosts{state=\"imaginary\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("im_wakes_total{kind=\"cold\",cause=\"user\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("im_wakes_total{kind=\"cold\",cause=\"syn\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("im_wakes_total{kind=\"thaw\",cause=\"syn\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("im_start_seconds_count 2\n"));
  EXPECT_THAT(text, HasSubstr("im_held_packets_total{outcome=\"held\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("im_held_packets_total{outcome=\"delivered\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("im_hold_seconds_count 1\n"));
  EXPECT_THAT(text, HasSubstr("im_host_state{host=\"db\",state=\"running\"} 1\n"));
  EXPECT_THAT(text, Not(HasSubstr("host=\"old\""))) << "it has no instance";
}

TEST(ClusterMetrics, HostSecondsSayWhatWasSaved) {
  VirtualCluster cluster(kMetricsYaml);
  cluster.RunFor(seconds(100));
  cluster.loop().RunOnce(Duration(0));  // nothing happened: it does not know the time
  Wake(cluster, "web");
  cluster.RunFor(seconds(50));
  const std::string text = Metrics(cluster);
  const auto value = [&](const std::string& name) {
    const size_t at = text.find("\n" + name + " ");
    EXPECT_NE(at, std::string::npos) << name;
    return std::stod(text.substr(at + name.size() + 2));
  };
  EXPECT_NEAR(value("im_host_seconds_total{state=\"running\"}"), 50, 1);
  EXPECT_NEAR(value("im_host_seconds_total{state=\"imaginary\"}"), 100 * 3 + 50 * 2, 1);
  EXPECT_NEAR(value("im_host_seconds_configured_total"), 450, 1);
}

TEST(ClusterMetrics, AnImdThatWasRestartedCountsNoWakesTwice) {
  VirtualCluster cluster(kMetricsYaml);
  Wake(cluster, "web");
  cluster.RunFor(seconds(1));
  cluster.KillImd();
  cluster.RunFor(seconds(1));
  cluster.StartImd();
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.StateOf("web") == HostState::kRunning; }));
  std::string text = Metrics(cluster);
  EXPECT_THAT(text, Not(HasSubstr("im_wakes_total{kind=\"cold\",cause=\"user\"}")));
  EXPECT_THAT(text, HasSubstr("im_start_seconds_count 0\n"));
  // But it counts what comes.
  cluster.Find("web")->Pause();
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.StateOf("web") == HostState::kPaused; }));
  Wake(cluster, "web");
  text = Metrics(cluster);
  EXPECT_THAT(text, HasSubstr("im_thaw_seconds_count 1\n"));
  EXPECT_THAT(text, HasSubstr("im_thaws_total 1\n"));
}

TEST(ClusterMetrics, TellsFailures) {
  VirtualCluster cluster(kMetricsYaml);
  proto::ExitReport report;
  report.set_reason(proto::ExitReport::EXEC_FAILED);
  report.set_message("exec web: No such file or directory");
  cluster.behaviour["web"].start_fails = report;
  ASSERT_TRUE(cluster.Wake("web").ok());
  cluster.RunFor(seconds(1));
  Wake(cluster, "db");
  cluster.KillInstance("db");
  cluster.RunFor(seconds(1));
  const std::string text = Metrics(cluster);
  EXPECT_THAT(text, HasSubstr("im_failures_total{during=\"start\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("im_failures_total{during=\"run\"} 1\n"));
}

TEST(ClusterMetrics, TellsWhatTheTunnelDropped) {
  VirtualCluster cluster(kMetricsYaml);
  EdgeFigures edge;
  edge.tunnel_drops.Add(DropReason::kReplayed, 7);
  edge.tunnel_rx_bytes = 123;
  edge.published_connections = 2;
  const std::string text = Metrics(cluster, edge);
  EXPECT_THAT(text, HasSubstr("im_tunnel_dropped_packets_total{reason=\"replayed\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("im_tunnel_dropped_packets_total{reason=\"bad_mac\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("im_tunnel_bytes_total{direction=\"receive\"} 123\n"));
  EXPECT_THAT(text, HasSubstr("im_published_connections 2\n"));
}

// What promtool demands: each family once, its samples together, no sample twice.
TEST(ClusterMetrics, EveryFamilyIsDescribedOnce) {
  VirtualCluster cluster(kMetricsYaml);
  Wake(cluster, "web");
  Wake(cluster, "db");
  cluster.RunFor(seconds(1));
  std::set<std::string> families;
  std::set<std::string> samples;
  std::string family;
  for (const std::string& line : std::vector<std::string>(
           absl::StrSplit(Metrics(cluster), '\n', absl::SkipEmpty()))) {
    if (line.rfind("# HELP ", 0) == 0) {
      family = line.substr(7, line.find(' ', 7) - 7);
      EXPECT_TRUE(families.insert(family).second) << line;
    } else if (line.rfind("# TYPE ", 0) == 0) {
      EXPECT_THAT(line, HasSubstr(" " + family + " "));
      const bool total = family.size() > 6 && family.substr(family.size() - 6) == "_total";
      EXPECT_EQ(line.find(" counter") != std::string::npos, total) << line;
    } else {
      EXPECT_EQ(line.rfind(family, 0), 0u) << line << " is not of " << family;
      EXPECT_TRUE(samples.insert(line.substr(0, line.rfind(' '))).second) << line;
    }
  }
  EXPECT_GT(families.size(), 30u);
}

TEST(ClusterMetrics, SeriesOfHostsAreBounded) {
  VirtualCluster cluster(absl::StrCat(
      "name: shop\nnetwork: 10.64.0.0/12\nhosts:\n  w: {command: [w], replicas: 20000}\n"));
  const size_t cold = Metrics(cluster).size();
  EXPECT_LT(cold, 20'000u) << "hosts without an instance cost nothing";
  constexpr size_t kUp = kHostSeriesMax + 20;
  for (size_t i = 1; i <= kUp; ++i) ASSERT_TRUE(cluster.Wake(absl::StrCat("w-", i)).ok());
  ASSERT_TRUE(cluster.RunUntil([&] {
    return cluster.StateOf(absl::StrCat("w-", kUp)) == HostState::kRunning;
  }));
  cluster.RunFor(seconds(1));
  const std::string text = Metrics(cluster);
  EXPECT_THAT(text, HasSubstr(absl::StrCat("im_hosts{state=\"running\"} ", kUp, "\n")));
  EXPECT_THAT(text, HasSubstr("im_hosts_without_series 20\n"));
  EXPECT_THAT(text, HasSubstr("im_host_state{host=\"w-1000\""));
  EXPECT_THAT(text, Not(HasSubstr("{host=\"w-1001\"")));
  EXPECT_LT(text.size(), 600'000u);
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 6'500);
}

}  // namespace
}  // namespace im::orchestrator
