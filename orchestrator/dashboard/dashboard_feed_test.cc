// What readers of a cluster in virtual time are told.

#include "orchestrator/dashboard/dashboard_feed.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "orchestrator/dashboard/dashboard_json.h"
#include "orchestrator/virtual_cluster.h"

namespace im::orchestrator {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;

constexpr char kFeedYaml[] = R"(
name: shop
network: 10.77.0.0/24
hosts:
  web: {command: [web]}
  db: {command: [db]}
)";

struct Told {
  std::string kind;
  json data;
};

class DashboardFeedTest : public testing::Test {
 protected:
  explicit DashboardFeedTest(const std::string& yaml = kFeedYaml) : cluster_(yaml) {
    feed_.emplace(cluster_.controller(), [this] { ++news_; });
  }

  // All that the reader has to read now.
  std::vector<Told> Read(HttpStream& reader) {
    std::vector<Told> all;
    for (std::string chunk = reader.Next(); !chunk.empty(); chunk = reader.Next()) {
      for (absl::string_view message : absl::StrSplit(chunk, "\n\n", absl::SkipEmpty())) {
        absl::ConsumePrefix(&message, "retry: 2000\n");
        EXPECT_TRUE(absl::ConsumePrefix(&message, "event: ")) << message;
        const std::pair<absl::string_view, absl::string_view> parts =
            absl::StrSplit(message, absl::MaxSplits("\ndata: ", 1));
        all.push_back({std::string(parts.first), json::parse(parts.second)});
      }
    }
    return all;
  }
  static std::vector<std::string> Kinds(const std::vector<Told>& told) {
    std::vector<std::string> kinds;
    for (const Told& one : told) kinds.push_back(one.kind);
    return kinds;
  }
  // The newest row of each host, by its name.
  static std::map<std::string, json> Rows(const std::vector<Told>& told) {
    std::map<std::string, json> rows;
    for (const Told& one : told) {
      if (one.kind != "hosts") continue;
      for (const json& row : one.data) rows[row.value("name", "gone")] = row;
    }
    return rows;
  }
  // As a reader that is quick enough to see every look.
  std::vector<Told> ReadFor(HttpStream& reader, Duration duration) {
    std::vector<Told> all;
    for (Duration passed(0); passed < duration; passed += milliseconds(50)) {
      cluster_.RunFor(milliseconds(50));
      for (Told& one : Read(reader)) all.push_back(std::move(one));
    }
    return all;
  }
  static std::map<std::pair<int, int>, uint64_t> Flows(const std::vector<Told>& told) {
    std::map<std::pair<int, int>, uint64_t> flows;
    for (const Told& one : told) {
      if (one.kind != "traffic") continue;
      for (const json& flow : one.data["flows"]) flows[{flow[0], flow[1]}] += flow[2].get<uint64_t>();
    }
    return flows;
  }
  void Wake(const std::string& host) {
    ASSERT_TRUE(cluster_.Wake(host).ok());
    ASSERT_TRUE(cluster_.RunUntil([&] { return cluster_.StateOf(host) == HostState::kRunning; }));
  }

  VirtualCluster cluster_;
  int news_ = 0;
  std::optional<DashboardFeed> feed_;
};

TEST_F(DashboardFeedTest, AReaderIsToldAllAtFirst) {
  Wake("web");
  const auto reader = feed_->Open();
  const std::vector<Told> told = Read(*reader);
  EXPECT_THAT(Kinds(told), ElementsAre("hello", "hosts", "ready", "events", "totals"));
  EXPECT_EQ(told[0].data["name"], "shop");
  EXPECT_EQ(told[0].data["hosts"], 2);
  const auto rows = Rows(told);
  EXPECT_EQ(rows.at("web")["state"], "running");
  EXPECT_EQ(rows.at("web")["address"], "10.77.0.2");
  EXPECT_EQ(rows.at("web")["kind"], "cold");
  EXPECT_EQ(rows.at("db")["state"], "imaginary");
  EXPECT_FALSE(rows.at("db").contains("memory"));
  EXPECT_EQ(told[3].data.back()["to"], "running");
  EXPECT_EQ(told[4].data["counts"]["running"], 1);
  EXPECT_THAT(Read(*reader), testing::IsEmpty());
}

TEST_F(DashboardFeedTest, ThenOnlyWhatChanges) {
  const auto reader = feed_->Open();
  Read(*reader);
  cluster_.RunFor(seconds(1));
  EXPECT_THAT(Kinds(Read(*reader)), ElementsAre("totals")) << "nothing has changed";
  Wake("db");
  const int before = news_;
  cluster_.RunFor(2 * DashboardFeed::kAfterEvent);
  EXPECT_GT(news_, before) << "an event is told soon";
  const std::vector<Told> told = Read(*reader);
  const auto rows = Rows(told);
  EXPECT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows.at("db")["state"], "running");
  EXPECT_THAT(Kinds(told), testing::Contains("events"));
}

TEST_F(DashboardFeedTest, ASlowReaderIsToldTheNewestOnly) {
  const auto slow = feed_->Open();
  const auto quick = feed_->Open();
  Read(*slow);
  for (int i = 0; i < 3; ++i) {
    Wake("db");
    cluster_.RunFor(seconds(1));
    cluster_.KillInstance("db");
    ASSERT_TRUE(
        cluster_.RunUntil([&] { return cluster_.StateOf("db") == HostState::kImaginary; }));
    cluster_.RunFor(seconds(2));
    Read(*quick);
  }
  const std::vector<Told> told = Read(*slow);
  size_t rows = 0;
  size_t totals = 0;
  for (const Told& one : told) {
    if (one.kind == "hosts") rows += one.data.size();
    if (one.kind == "totals") ++totals;
  }
  EXPECT_EQ(rows, 1u);
  EXPECT_EQ(totals, 1u);
  EXPECT_EQ(Rows(told).at("db")["state"], "imaginary");
}

TEST_F(DashboardFeedTest, AGuestComesAndGoes) {
  const auto reader = feed_->Open();
  Read(*reader);
  const auto joined = cluster_.controller().Join("run-1", "curl", [](const absl::Status&) {});
  ASSERT_TRUE(joined.ok()) << joined.status();
  cluster_.RunFor(seconds(1));
  const json row = Rows(Read(*reader)).at("run-1");
  EXPECT_EQ(row["guest"], true);
  cluster_.controller().Leave("run-1");
  cluster_.RunFor(seconds(2));
  const json gone = Rows(Read(*reader)).at("gone");
  EXPECT_EQ(gone, json({{"id", row["id"]}, {"gone", true}}));
  // Who comes later hears nothing of it.
  EXPECT_EQ(Rows(Read(*feed_->Open())).size(), 2u);
}

TEST_F(DashboardFeedTest, TrafficThroughTheGatewayIsTold) {
  Wake("web");
  Wake("db");
  const auto reader = feed_->Open();
  Read(*reader);
  cluster_.Find("web")->SendSyn(cluster_.AddressOf("db"), 4000);
  const int web = static_cast<int>(cluster_.Id("web"));
  const int db = static_cast<int>(cluster_.Id("db"));
  const auto flows = Flows(ReadFor(*reader, seconds(2)));
  ASSERT_TRUE(flows.contains({web, db}));
  EXPECT_EQ(flows.at({web, db}), 40u) << "one SYN";
  EXPECT_TRUE(Flows(ReadFor(*reader, seconds(2))).empty()) << "told once";
}

TEST_F(DashboardFeedTest, DirectTrafficIsWhatAStatusAddsToTheOneBefore) {
  Wake("web");
  Wake("db");
  const auto say = [&](uint64_t bytes) {
    proto::InstanceStatus status;
    status.set_state(proto::InstanceStatus::RUNNING);
    proto::PeerTraffic& peer = *status.add_peers();
    const IpAddress db = cluster_.AddressOf("db");
    peer.set_address(db.bytes().data(), db.bytes().size());
    peer.set_tx_bytes(bytes);
    const Instance* instance = cluster_.controller().FindInstance(cluster_.Id("web"));
    status.set_version(instance->status.version() + 1);
    cluster_.controller().OnStatus(cluster_.AddressOf("web"), status, false);
  };
  using Expected = std::map<std::pair<int, int>, uint64_t>;
  const std::pair<int, int> pair(cluster_.Id("web"), cluster_.Id("db"));
  say(100'000);
  const auto reader = feed_->Open();
  EXPECT_EQ(Flows(ReadFor(*reader, seconds(2))), Expected()) << "what was before is history";
  say(101'500);
  EXPECT_EQ(Flows(ReadFor(*reader, seconds(2))), (Expected{{pair, 1500}}));
  say(300);
  EXPECT_EQ(Flows(ReadFor(*reader, seconds(2))), (Expected{{pair, 300}})) << "introduced anew";
}

TEST_F(DashboardFeedTest, WithoutReadersNothingIsDone) {
  auto reader = feed_->Open();
  EXPECT_EQ(cluster_.controller().events().subscribers(), 1u);
  reader.reset();
  EXPECT_EQ(feed_->readers(), 0u);
  EXPECT_EQ(cluster_.controller().events().subscribers(), 0u);
  const int before = news_;
  Wake("web");
  cluster_.RunFor(seconds(5));
  EXPECT_EQ(news_, before);
  // And with the next one it begins anew.
  EXPECT_EQ(Rows(Read(*feed_->Open())).at("web")["state"], "running");
}

TEST_F(DashboardFeedTest, AReaderMayOutliveTheFeed) {
  const auto reader = feed_->Open();
  feed_.reset();
  EXPECT_EQ(reader->Next(), "");
}

TEST_F(DashboardFeedTest, BytesThatAreNoTextHurtNobody) {
  proto::Event event;
  event.set_host("web");
  event.set_text("\xff\xfe \"quoted\"\n</script>");
  cluster_.controller().events().Append(event);
  const auto reader = feed_->Open();
  const std::vector<Told> told = Read(*reader);
  EXPECT_EQ(told[3].data.back()["text"], "\xEF\xBF\xBD\xEF\xBF\xBD \"quoted\"\n</script>");
}

class LargeDashboardFeedTest : public DashboardFeedTest {
 protected:
  LargeDashboardFeedTest()
      : DashboardFeedTest("name: large\nnetwork: 10.64.0.0/16\nhosts:\n"
                          "  w: {command: [w], replicas: 1000}\n") {}
};

TEST_F(LargeDashboardFeedTest, ManyHostsComeInPagesEachOnce) {
  const auto reader = feed_->Open();
  std::map<int, int> seen;
  size_t pages = 0;
  for (std::string chunk = reader->Next(); !chunk.empty(); chunk = reader->Next()) {
    if (!absl::StartsWith(chunk, "event: hosts\n")) continue;
    ++pages;
    EXPECT_LT(chunk.size(), 64u << 10);
    for (const json& row : json::parse(chunk.substr(chunk.find('[')))) {
      ++seen[row["id"].get<int>()];
    }
    // What changes meanwhile is told all the same.
    if (pages == 2) {
      ASSERT_TRUE(cluster_.Wake("w-1").ok());
      cluster_.RunFor(seconds(2));
    }
  }
  EXPECT_EQ(seen.size(), 1000u);
  const int changed = static_cast<int>(cluster_.Id("w-1"));
  for (const auto& [host, times] : seen) EXPECT_EQ(times, host == changed ? 2 : 1) << host;
  EXPECT_EQ(pages, 1000 / DashboardFeed::kRowsMax + 1);
}

}  // namespace
}  // namespace im::orchestrator
