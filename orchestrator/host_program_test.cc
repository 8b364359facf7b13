#include "orchestrator/host_program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "orchestrator/spec/test_sources.h"

namespace im::orchestrator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class HostProgram : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = (std::filesystem::temp_directory_path() / "im-program-XXXXXX").string();
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    directory_ = path;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  ClusterSpec Parse(const std::string& text) {
    auto parsed = ParseClusterSpec(text, "c.yaml", directory_,
                                   FakeSources({}, {{"IM_DATA_DIR", directory_ + "/data"}}));
    EXPECT_THAT(Lines(parsed.errors), testing::IsEmpty());
    return parsed.spec.value_or(ClusterSpec());
  }

  std::string directory_;
};

std::string Bytes(const char* address) {
  const IpAddress parsed = *IpAddress::Parse(address);
  return parsed.ToBytes();
}

TEST_F(HostProgram, FillsTheWholeProgram) {
  const ClusterSpec cluster = Parse(
      "name: shop\nhosts:\n  db:\n    command: [prog, -x]\n    environment: {A: 1}\n"
      "    stop_signal: INT\n    stop_grace_period: 2s\n    mem_limit: 2m\n    cpus: 0.5\n"
      "    ulimits: {nofile: 99}\n    tmpfs: [/tmp]\n    volumes: ['.:/conf:ro', 'state:/state']\n");
  proto::Program program;
  program.add_argv("left over");
  const absl::Status status = FillProgram(cluster, cluster.hosts[0], program);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(program.argv(), ElementsAre("prog", "-x"));
  EXPECT_EQ(program.environment().at("A"), "1");
  EXPECT_EQ(program.environment().at("PATH"), kDefaultPath);
  EXPECT_EQ(program.environment().at("HOSTNAME"), "db");
  EXPECT_TRUE(program.environment().contains("HOME"));
  EXPECT_EQ(program.working_dir(), directory_);
  EXPECT_EQ(program.uid(), geteuid());
  EXPECT_EQ(program.gid(), getegid());
  EXPECT_EQ(program.stop_signal(), "SIGINT");
  EXPECT_EQ(program.stop_grace_ms(), 2000u);
  EXPECT_EQ(program.mem_limit_bytes(), 2u << 20);
  EXPECT_EQ(program.cpus(), 0.5);
  EXPECT_EQ(program.ulimits().at("nofile"), 99u);
  ASSERT_EQ(program.mounts_size(), 3);
  EXPECT_EQ(program.mounts(0).source(), directory_);
  EXPECT_TRUE(program.mounts(0).read_only());
  EXPECT_EQ(program.mounts(1).source(), directory_ + "/data/shop/volumes/state");
  EXPECT_TRUE(std::filesystem::is_directory(program.mounts(1).source()));
  EXPECT_EQ(program.mounts(2).source(), "");
  EXPECT_EQ(program.mounts(2).target(), "/tmp");
}

TEST_F(HostProgram, TheFilesEnvironmentWins) {
  const ClusterSpec cluster =
      Parse("hosts: {a: {command: a, environment: {PATH: /opt, HOME: /x, HOSTNAME: y}}}\n");
  proto::Program program;
  ASSERT_TRUE(FillProgram(cluster, cluster.hosts[0], program).ok());
  EXPECT_EQ(program.environment().at("PATH"), "/opt");
  EXPECT_EQ(program.environment().at("HOME"), "/x");
  EXPECT_EQ(program.environment().at("HOSTNAME"), "y");
}

TEST_F(HostProgram, UsersAreLookedUp) {
  if (geteuid() != 0) GTEST_SKIP() << "other users need root";
  const ClusterSpec cluster = Parse(
      "hosts:\n  a: {command: a, user: nobody, volumes: ['v:/v']}\n  b: {command: a, user: '12:34'}\n"
      "  c: {command: a, user: 'nobody:root'}\n  d: {command: a, user: 4000000}\n");
  proto::Program program;
  ASSERT_TRUE(FillProgram(cluster, cluster.hosts[0], program).ok());
  EXPECT_EQ(program.uid(), 65534u);
  EXPECT_EQ(program.gid(), 65534u);
  struct stat status;
  ASSERT_EQ(stat(program.mounts(0).source().c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 65534u);
  ASSERT_TRUE(FillProgram(cluster, cluster.hosts[1], program).ok());
  EXPECT_EQ(program.uid(), 12u);
  EXPECT_EQ(program.gid(), 34u);
  ASSERT_TRUE(FillProgram(cluster, cluster.hosts[2], program).ok());
  EXPECT_EQ(program.gid(), 0u);
  ASSERT_TRUE(FillProgram(cluster, cluster.hosts[3], program).ok());
  EXPECT_EQ(program.uid(), 4000000u);
  EXPECT_EQ(program.gid(), 4000000u);
}

TEST_F(HostProgram, WhatIsMissingIsNamed) {
  const ClusterSpec cluster = Parse(
      "hosts:\n  a: {command: a, user: no-such-user-x}\n  b: {command: a, user: 'root:no-such-x'}\n"
      "  c: {command: a, volumes: ['./gone:/x']}\n");
  proto::StartRequest request;
  EXPECT_THAT(std::string(FillStartRequest(cluster, cluster.hosts[0], request).message()),
              HasSubstr("host a: user no-such-user-x does not exist on this machine"));
  proto::Program program;
  EXPECT_THAT(std::string(FillProgram(cluster, cluster.hosts[1], program).message()),
              HasSubstr("group no-such-x does not exist"));
  EXPECT_THAT(std::string(FillProgram(cluster, cluster.hosts[2], program).message()),
              HasSubstr("/gone:/x: No such file or directory"));
}

TEST_F(HostProgram, AStartRequestHoldsWhatTheSpecDecides) {
  const ClusterSpec cluster = Parse(
      "name: shop\nnetwork: 10.9.0.0/24\nhosts:\n"
      "  a: {command: a, hostname: front, start_timeout: 3s, logging: {max_size: 8k, files: 5},\n"
      "      idle: {policy: no_connections, after: 2s, cpu_below: 3%, busy_file: /b,\n"
      "             timers: honor, timer_horizon: 3s, tick_max: 0,\n"
      "             below_bytes_per_s: 2k, reclaim: true,\n"
      "             ignore: {ports: [9100], from: [10.9.0.9, 10.9.0.64/28]}}}\n"
      "  b: {command: a, min_running: 1}\n"
      "  c: {command: a, healthcheck: {test: [CMD, x, y], interval: 2s, timeout: 1s, retries: 4, "
      "start_period: 1m, start_interval: 10ms}}\n");
  proto::StartRequest request;
  ASSERT_TRUE(FillStartRequest(cluster, cluster.hosts[0], request).ok());
  EXPECT_EQ(request.cluster(), "shop");
  EXPECT_EQ(request.host(), "a");
  EXPECT_EQ(request.gateway_address(), Bytes("10.9.0.1"));
  EXPECT_EQ(request.address(), Bytes("10.9.0.2"));
  EXPECT_EQ(request.prefix_length(), 24u);
  EXPECT_EQ(request.domain(), "shop.im");
  EXPECT_EQ(request.hostname(), "front");
  EXPECT_EQ(request.program().argv(0), "a");
  EXPECT_EQ(request.idle().mode(), proto::IdlePolicy::NO_CONNECTIONS);
  EXPECT_EQ(request.idle().after_ms(), 2000u);
  EXPECT_EQ(request.idle().cpu_below_permille(), 30u);
  EXPECT_EQ(request.idle().busy_file(), "/b");
  EXPECT_EQ(request.idle().timers(), proto::IdlePolicy::TIMERS_HONOR);
  EXPECT_EQ(request.idle().timer_horizon_ms(), 3000u);
  EXPECT_EQ(request.idle().below_bytes_per_s(), 2048u);
  EXPECT_TRUE(request.idle().reclaim());
  EXPECT_THAT(request.idle().ignore_ports(), ElementsAre(9100u));
  EXPECT_THAT(request.idle().ignore_from(), ElementsAre("10.9.0.9/32", "10.9.0.64/28"));
  EXPECT_TRUE(request.idle().has_tick_max_ms());
  EXPECT_EQ(request.idle().tick_max_ms(), 0u);
  EXPECT_EQ(request.start_timeout_ms(), 3000u);
  EXPECT_EQ(request.log_bytes_max(), 8192u);
  EXPECT_EQ(request.log_files_max(), 5u);
  // What must always run is never paused.
  request.Clear();
  ASSERT_TRUE(FillStartRequest(cluster, cluster.hosts[1], request).ok());
  EXPECT_EQ(request.idle().mode(), proto::IdlePolicy::NEVER);
  EXPECT_EQ(request.idle().timers(), proto::IdlePolicy::TIMERS_AUTO);
  EXPECT_EQ(request.idle().timer_horizon_ms(), 1000u);
  EXPECT_FALSE(request.idle().has_tick_max_ms());
  EXPECT_FALSE(request.has_healthcheck());
  ASSERT_TRUE(FillStartRequest(cluster, cluster.hosts[2], request).ok());
  EXPECT_THAT(request.healthcheck().argv(), ElementsAre("x", "y"));
  EXPECT_EQ(request.healthcheck().interval_ms(), 2000u);
  EXPECT_EQ(request.healthcheck().timeout_ms(), 1000u);
  EXPECT_EQ(request.healthcheck().retries(), 4u);
  EXPECT_EQ(request.healthcheck().start_period_ms(), 60'000u);
  EXPECT_EQ(request.healthcheck().start_interval_ms(), 10u);
}

TEST_F(HostProgram, AStartRequestSaysWhetherThereIsIpv6) {
  proto::StartRequest request;
  ClusterSpec cluster = Parse("network: 10.9.0.0/24\nhosts: {a: {command: a}}\n");
  ASSERT_TRUE(FillStartRequest(cluster, cluster.hosts[0], request).ok());
  EXPECT_EQ(request.network6(), "");
  cluster = Parse("network: {ipv6: 'fd77::/64'}\nhosts: {a: {command: a}}\n");
  ASSERT_TRUE(FillStartRequest(cluster, cluster.hosts[0], request).ok());
  EXPECT_EQ(request.network6(), Bytes("fd77::"));
}

TEST_F(HostProgram, TheNameTableHasEveryNameOnce) {
  const ClusterSpec cluster = Parse(
      "network: 10.9.0.0/24\nhosts:\n  web: {command: a, aliases: [www]}\n"
      "  zk: {command: a, replicas: 2}\n");
  proto::NameTable table;
  FillNameTable(cluster, table);
  std::vector<std::string> names;
  for (const proto::HostName& host : table.hosts()) {
    names.push_back(absl::StrCat(host.name(), " ", static_cast<int>(host.address().back())));
  }
  EXPECT_THAT(names, ElementsAre("web 2", "www 2", "zk 3"));
  ASSERT_EQ(table.replicas_size(), 1);
  EXPECT_EQ(table.replicas(0).prefix(), "zk");
  EXPECT_EQ(table.replicas(0).first(), 1u);
  EXPECT_EQ(table.replicas(0).count(), 2u);
  EXPECT_EQ(table.replicas(0).first_address().back(), 3);
}

TEST_F(HostProgram, TheNamesOf100000ReplicasAreAFewBytes) {
  const ClusterSpec cluster =
      Parse("network: 10.64.0.0/12\nhosts:\n  fixed: {command: a, address: 10.64.0.9}\n"
            "  zk: {command: a, replicas: 99999}\n");
  proto::NameTable table;
  FillNameTable(cluster, table);
  EXPECT_EQ(table.replicas_size(), 2) << "fixed's address lies in between";
  EXPECT_LT(table.ByteSizeLong(), 100u);
}

}  // namespace
}  // namespace im::orchestrator
