#include "orchestrator/cli/top_model.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

namespace im::orchestrator::cli {
namespace {

constexpr std::pair<TopOrder, absl::string_view> kOrders[kTopOrders] = {
    {TopOrder::kFile, "file"},     {TopOrder::kName, "name"}, {TopOrder::kState, "state"},
    {TopOrder::kCpu, "cpu"},       {TopOrder::kMemory, "memory"}, {TopOrder::kIn, "in"},
    {TopOrder::kOut, "out"},       {TopOrder::kNext, "next"}};

// The liveliest first.
int RankOfState(absl::string_view state) {
  constexpr absl::string_view kRanks[] = {"running", "restoring", "starting", "releasing",
                                          "paused",  "checkpointed"};
  return static_cast<int>(std::find(std::begin(kRanks), std::end(kRanks), state) -
                          std::begin(kRanks));
}

uint64_t Countdown(const proto::HostInfo& host) {
  const uint64_t ms = host.state() == "paused" ? host.release_in_ms() : host.pause_in_ms();
  return ms == 0 ? std::numeric_limits<uint64_t>::max() : ms;
}

// How much of `total` is new. An instance that took the place of another
// begins at zero.
double PerSecond(uint64_t total, uint64_t before, double seconds) {
  return static_cast<double>(total >= before ? total - before : total) / seconds;
}

bool Before(TopOrder order, const TopRow& a, const TopRow& b) {
  switch (order) {
    case TopOrder::kFile:
      return false;
    case TopOrder::kName:
      return a.host.name() < b.host.name();
    case TopOrder::kState:
      return RankOfState(a.host.state()) < RankOfState(b.host.state());
    case TopOrder::kCpu:
      return a.cpu_percent.value_or(-1) > b.cpu_percent.value_or(-1);
    case TopOrder::kMemory:
      return a.host.memory_bytes() > b.host.memory_bytes();
    case TopOrder::kIn:
      return a.in_per_s.value_or(-1) > b.in_per_s.value_or(-1);
    case TopOrder::kOut:
      return a.out_per_s.value_or(-1) > b.out_per_s.value_or(-1);
    case TopOrder::kNext:
      return Countdown(a.host) < Countdown(b.host);
  }
  return false;
}

}  // namespace

absl::string_view TopOrderName(TopOrder order) {
  for (const auto& [known, name] : kOrders) {
    if (known == order) return name;
  }
  return "";
}

std::optional<TopOrder> TopOrderOf(absl::string_view name) {
  for (const auto& [order, known] : kOrders) {
    if (known == name) return order;
  }
  return std::nullopt;
}

void TopModel::Update(std::vector<proto::HostInfo> hosts, Instant now) {
  absl::flat_hash_map<std::string, Look> looks;
  rows_.clear();
  const double seconds =
      looked_at_ ? std::chrono::duration<double>(now - *looked_at_).count() : 0;
  for (proto::HostInfo& host : hosts) {
    TopRow row;
    const Look look{host.incarnation(), host.cpu_ns(), host.status().inside_rx_bytes(),
                    host.status().inside_tx_bytes()};
    if (seconds > 0) {
      Look before;
      const auto it = looks_.find(host.name());
      if (it != looks_.end() && it->second.incarnation == look.incarnation) before = it->second;
      row.cpu_percent = PerSecond(look.cpu_ns, before.cpu_ns, seconds) * 1e-9 * 100;
      row.in_per_s = PerSecond(look.in_bytes, before.in_bytes, seconds);
      row.out_per_s = PerSecond(look.out_bytes, before.out_bytes, seconds);
    }
    looks.emplace(host.name(), look);
    row.host = std::move(host);
    rows_.push_back(std::move(row));
  }
  looks_ = std::move(looks);
  looked_at_ = now;
}

std::vector<TopRow> TopModel::Sorted(TopOrder order, bool reversed) const {
  std::vector<TopRow> sorted = rows_;
  std::stable_sort(sorted.begin(), sorted.end(), [order](const TopRow& a, const TopRow& b) {
    return Before(order, a, b);
  });
  if (reversed) std::reverse(sorted.begin(), sorted.end());
  return sorted;
}

}  // namespace im::orchestrator::cli
