#include "orchestrator/cli/top_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace im::orchestrator::cli {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;

const Instant kStart = Instant(seconds(1000));

proto::HostInfo Host(const std::string& name, const std::string& state, uint64_t cpu_ms = 0,
                     uint64_t in = 0, uint64_t out = 0, uint64_t incarnation = 1) {
  proto::HostInfo host;
  host.set_name(name);
  host.set_state(state);
  host.set_incarnation(incarnation);
  host.set_cpu_ns(cpu_ms * 1'000'000);
  host.mutable_status()->set_inside_rx_bytes(in);
  host.mutable_status()->set_inside_tx_bytes(out);
  return host;
}

std::vector<std::string> Names(const std::vector<TopRow>& rows) {
  std::vector<std::string> names;
  for (const TopRow& row : rows) names.push_back(row.host.name());
  return names;
}

TEST(TopModel, TheFirstLookKnowsNoRates) {
  TopModel model;
  model.Update({Host("a", "running", 500)}, kStart);
  EXPECT_FALSE(model.rows()[0].cpu_percent.has_value());
  EXPECT_FALSE(model.rows()[0].in_per_s.has_value());
}

TEST(TopModel, RatesAreWhatCameBetweenTwoLooks) {
  TopModel model;
  model.Update({Host("a", "running", 500, 1000, 50)}, kStart);
  model.Update({Host("a", "running", 1500, 3000, 50)}, kStart + seconds(2));
  EXPECT_DOUBLE_EQ(*model.rows()[0].cpu_percent, 50);
  EXPECT_DOUBLE_EQ(*model.rows()[0].in_per_s, 1000);
  EXPECT_DOUBLE_EQ(*model.rows()[0].out_per_s, 0);
}

TEST(TopModel, ANewInstanceBeginsAtZero) {
  TopModel model;
  model.Update({Host("a", "running", 5000, 1000)}, kStart);
  model.Update({Host("a", "running", 6000, 1500, 0, 2), Host("b", "running", 10)},
               kStart + seconds(1));
  EXPECT_DOUBLE_EQ(*model.rows()[0].cpu_percent, 600);
  EXPECT_DOUBLE_EQ(*model.rows()[0].in_per_s, 1500);
  EXPECT_DOUBLE_EQ(*model.rows()[1].cpu_percent, 1) << "it was not there before";
}

TEST(TopModel, OrdersByWhatIsMost) {
  TopModel model;
  std::vector<proto::HostInfo> hosts = {Host("d", "paused"), Host("a", "running"),
                                        Host("c", "imaginary"), Host("b", "running")};
  hosts[0].set_release_in_ms(9000);
  hosts[0].set_memory_bytes(10);
  hosts[1].set_memory_bytes(30);
  hosts[3].set_memory_bytes(20);
  hosts[3].set_pause_in_ms(5000);
  model.Update(hosts, kStart);
  hosts[3].set_cpu_ns(1'000'000);
  hosts[1].mutable_status()->set_inside_tx_bytes(7);
  model.Update(hosts, kStart + seconds(1));
  EXPECT_THAT(Names(model.Sorted(TopOrder::kFile, false)), ElementsAre("d", "a", "c", "b"));
  EXPECT_THAT(Names(model.Sorted(TopOrder::kName, false)), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(Names(model.Sorted(TopOrder::kState, false)), ElementsAre("a", "b", "d", "c"));
  EXPECT_THAT(Names(model.Sorted(TopOrder::kCpu, false)), ElementsAre("b", "d", "a", "c"));
  EXPECT_THAT(Names(model.Sorted(TopOrder::kMemory, false)), ElementsAre("a", "b", "d", "c"));
  EXPECT_THAT(Names(model.Sorted(TopOrder::kOut, false)), ElementsAre("a", "d", "c", "b"));
  EXPECT_THAT(Names(model.Sorted(TopOrder::kNext, false)), ElementsAre("b", "d", "a", "c"));
  EXPECT_THAT(Names(model.Sorted(TopOrder::kName, true)), ElementsAre("d", "c", "b", "a"));
}

TEST(TopModel, OrdersHaveNames) {
  for (int i = 0; i < kTopOrders; ++i) {
    const auto order = static_cast<TopOrder>(i);
    EXPECT_EQ(TopOrderOf(TopOrderName(order)), order);
  }
  EXPECT_FALSE(TopOrderOf("size").has_value());
}

}  // namespace
}  // namespace im::orchestrator::cli
