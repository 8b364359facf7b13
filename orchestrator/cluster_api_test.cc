// What the command line is told, in virtual time.

#include "orchestrator/cluster_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "orchestrator/virtual_cluster.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr char kApiYaml[] = R"(
name: shop
network: 10.77.0.0/24
hosts:
  web: {command: [web]}
  db: {command: [db], stop_grace_period: 1s}
  shard: {command: [shard], replicas: 3}
)";

class ClusterApiTest : public testing::Test {
 protected:
  ClusterApiTest() : cluster_(kApiYaml), api_(cluster_.controller()) {}

  void WakeAndSettle(const std::string& host) {
    ASSERT_TRUE(cluster_.Wake(host).ok());
    ASSERT_TRUE(cluster_.RunUntil([&] { return cluster_.StateOf(host) == HostState::kRunning; }));
    cluster_.RunFor(seconds(1));
  }
  // How long the refresh of `hosts` took.
  Duration Refresh(const std::vector<std::string>& hosts) {
    const Instant before = cluster_.Now();
    int done = 0;
    api_.Refresh(hosts, [&] { ++done; });
    EXPECT_TRUE(cluster_.RunUntil([&] { return done > 0; }));
    const Duration took = cluster_.Now() - before;
    cluster_.RunFor(seconds(1));
    EXPECT_EQ(done, 1);
    return took;
  }
  uint64_t Memory(const std::string& host) {
    proto::ListHostsRequest request;
    request.add_names(host);
    return api_.Hosts(request)->hosts(0).memory_bytes();
  }

  VirtualCluster cluster_;
  ClusterApi api_;
};

TEST_F(ClusterApiTest, ARefreshBringsTheFiguresOfThisMoment) {
  WakeAndSettle("db");
  WakeAndSettle("web");
  cluster_.Find("db")->agent().status().set_memory_bytes(123'456);
  cluster_.Find("db")->agent().status().set_busy("cpu 12%");
  cluster_.RunFor(seconds(10));
  EXPECT_EQ(Memory("db"), 0u) << "nobody asked";
  EXPECT_LT(Refresh({"db"}), milliseconds(5));
  EXPECT_EQ(Memory("db"), 123'456u);
  EXPECT_THAT(api_.Why("db")->keeps_up(), testing::ElementsAre("cpu 12%"));
  EXPECT_EQ(cluster_.StateOf("db"), HostState::kRunning) << "to be asked changes nothing";
  cluster_.Find("web")->agent().status().set_memory_bytes(7);
  EXPECT_LT(Refresh({}), milliseconds(5));
  EXPECT_EQ(Memory("web"), 7u);
}

TEST_F(ClusterApiTest, WhatCannotAnswerIsNotWaitedFor) {
  EXPECT_EQ(Refresh({"db"}), Duration(0)) << "it is imaginary";
  EXPECT_EQ(Refresh({"nobody"}), Duration(0));
  EXPECT_EQ(Refresh({}), Duration(0));
  WakeAndSettle("db");
  cluster_.loss = 1;
  EXPECT_GE(Refresh({"db"}), kRefreshBound - milliseconds(1));  // from this turn on
  cluster_.loss = 0;
  cluster_.KillInstance("db");
  EXPECT_LT(Refresh({"db"}), kRefreshBound);
}

TEST_F(ClusterApiTest, ALostQuestionIsRepeated) {
  WakeAndSettle("db");
  cluster_.Find("db")->agent().status().set_memory_bytes(9);
  cluster_.loss = 1;
  bool done = false;
  api_.Refresh({"db"}, [&] { done = true; });
  cluster_.RunFor(milliseconds(10));
  cluster_.loss = 0;
  EXPECT_TRUE(cluster_.RunUntil([&] { return done; }, kRefreshBound));
  EXPECT_EQ(Memory("db"), 9u);
}

TEST_F(ClusterApiTest, AHostThatIsNotThereIsNamed) {
  proto::ListHostsRequest request;
  request.add_names("dbb");
  const absl::Status status = api_.Hosts(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"dbb\" in cluster shop"));
  EXPECT_EQ(api_.Why("dbb").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ClusterApiTest, AServiceIsAllItsReplicas) {
  proto::ListHostsRequest request;
  request.add_names("shard");
  request.add_names("db");
  std::vector<std::string> names;
  const proto::ListHostsReply reply = *api_.Hosts(request);
  for (const proto::HostInfo& host : reply.hosts()) names.push_back(host.name());
  EXPECT_THAT(names, testing::ElementsAre("shard-1", "shard-2", "shard-3", "db"));
  WakeAndSettle("shard-2");
  cluster_.Find("shard-2")->agent().status().set_memory_bytes(5);
  Refresh({"shard"});
  EXPECT_EQ(Memory("shard-2"), 5u);
}

TEST_F(ClusterApiTest, HostsCanBeListedAFewAtATime) {
  proto::ListHostsRequest request;
  const int all = api_.Hosts(request)->hosts_size();
  ASSERT_GE(all, 2);
  request.set_limit(1);
  std::vector<std::string> names;
  do {
    const auto reply = api_.Hosts(request);
    ASSERT_TRUE(reply.ok()) << reply.status();
    ASSERT_EQ(reply->hosts_size(), 1);
    names.push_back(reply->hosts(0).name());
    request.set_from(reply->next());
  } while (request.from() > 0);
  EXPECT_EQ(names.size(), static_cast<size_t>(all));
  EXPECT_EQ(names[0], cluster_.controller().hosts()[0].name);
  request.set_from(UINT32_MAX);
  EXPECT_EQ(api_.Hosts(request)->hosts_size(), 0);
}

TEST_F(ClusterApiTest, AStartThatFailsIsTheHostsFailureNotImds) {
  proto::ExitReport report;
  report.set_reason(proto::ExitReport::EXEC_FAILED);
  report.set_message("exec db: No such file or directory");
  cluster_.behaviour["db"].start_fails = report;
  proto::WakeRequest request;
  request.set_name("db");
  std::optional<absl::Status> answer;
  api_.Wake(request, [&](absl::StatusOr<proto::HostInfo> host) { answer = host.status(); });
  ASSERT_TRUE(cluster_.RunUntil([&] { return answer.has_value(); }));
  EXPECT_EQ(answer->code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(answer->message()), HasSubstr("No such file"));
}

TEST_F(ClusterApiTest, APauseSaysWhoWantedIt) {
  WakeAndSettle("db");
  const auto reason = [&] { return cluster_.controller().events().Newest({"db"}, 1)[0].text(); };
  api_.Suspend("db", [](absl::StatusOr<proto::HostInfo>) {});
  ASSERT_TRUE(cluster_.RunUntil([&] { return cluster_.StateOf("db") == HostState::kPaused; }));
  EXPECT_EQ(reason(), "im suspend");
  WakeAndSettle("db");
  cluster_.Find("db")->Pause();
  ASSERT_TRUE(cluster_.RunUntil([&] { return cluster_.StateOf("db") == HostState::kPaused; }));
  EXPECT_EQ(reason(), "idle");
}

TEST_F(ClusterApiTest, WhoWokeAHostIsNamedAlsoAfterItLeft) {
  const auto guest = cluster_.controller().Join("caller", "curl", [](absl::Status) {});
  ASSERT_TRUE(guest.ok()) << guest.status();
  VirtualInstance& caller = cluster_.RunGuest(*guest);
  ASSERT_TRUE(
      cluster_.RunUntil([&] { return cluster_.StateOf("caller") == HostState::kRunning; }));
  caller.SendSyn(cluster_.AddressOf("db"), 40'000);
  ASSERT_TRUE(cluster_.RunUntil([&] { return cluster_.StateOf("db") == HostState::kRunning; }));
  cluster_.KillInstance("caller");
  api_.Leave("caller");
  cluster_.RunFor(seconds(1));
  proto::ListHostsRequest request;
  request.add_names("db");
  EXPECT_THAT(api_.Hosts(request)->hosts(0).cause_text(), HasSubstr("SYN from caller:40000"));
}

TEST_F(ClusterApiTest, WakeSuspendAndReleaseAnswerWhenItIsSo) {
  const auto expect = [&](const std::string& state, const auto& ask) {
    std::string reached;
    ask([&](absl::StatusOr<proto::HostInfo> host) {
      reached = host.ok() ? host->state() : std::string(host.status().message());
    });
    EXPECT_TRUE(cluster_.RunUntil([&] { return !reached.empty(); }));
    EXPECT_EQ(reached, state);
  };
  proto::WakeRequest wake;
  wake.set_name("db");
  expect("running", [&](auto done) { api_.Wake(wake, done); });
  expect("paused", [&](auto done) { api_.Suspend("db", done); });
  expect("running", [&](auto done) { api_.Wake(wake, done); });
  expect("imaginary", [&](auto done) { api_.Release("db", done); });
  expect("db is imaginary, not running", [&](auto done) { api_.Suspend("db", done); });
}

}  // namespace
}  // namespace im::orchestrator
