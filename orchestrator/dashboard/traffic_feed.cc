#include "orchestrator/dashboard/traffic_feed.h"

#include <algorithm>

namespace im::orchestrator {

TrafficFeed::TrafficFeed(Controller& controller) : controller_(controller) {
  controller_.gateway().pairs().SetWatched(true);
  Take();  // what was before is history
  first_ = false;
}

TrafficFeed::~TrafficFeed() { controller_.gateway().pairs().SetWatched(false); }

HostId TrafficFeed::Find(const IpAddress& address) const {
  return controller_.hosts().FindByAddress(address).value_or(kNoHost);
}

std::vector<TrafficFeed::Flow> TrafficFeed::Take() {
  Sums sums;
  for (const auto& [pair, bytes] : controller_.gateway().pairs().Take()) {
    sums[{Find(pair.first), Find(pair.second)}] += bytes;
  }
  absl::flat_hash_map<HostId, Told> kept;
  controller_.hosts().ForEach([&](HostId host, const HostTable::Host& row) {
    if (!HasInstance(row.state)) return;
    const Instance* instance = controller_.FindInstance(host);
    if (instance == nullptr || instance->status.peers().empty()) return;
    TakeDirect(host, *instance, sums);
    kept[host] = std::move(told_[host]);
  });
  told_ = std::move(kept);
  std::vector<Flow> flows;
  for (const auto& [pair, bytes] : sums) {
    if (bytes > 0) flows.push_back({pair.first, pair.second, bytes});
  }
  const auto larger = [](const Flow& a, const Flow& b) { return a.bytes > b.bytes; };
  if (flows.size() > kFlowsMax) {
    std::nth_element(flows.begin(), flows.begin() + kFlowsMax, flows.end(), larger);
    flows.resize(kFlowsMax);
  }
  return flows;
}

void TrafficFeed::TakeDirect(HostId host, const Instance& instance, Sums& sums) {
  Told& told = told_[host];
  if (told.incarnation != instance.id.incarnation) told = {.incarnation = instance.id.incarnation};
  if (told.version == instance.status.version()) return;
  told.version = instance.status.version();
  for (const proto::PeerTraffic& peer : instance.status.peers()) {
    if (peer.address().size() != 4 && peer.address().size() != 16) continue;
    if (told.bytes.size() >= kPeersMax && !told.bytes.contains(peer.address())) continue;
    uint64_t& before = told.bytes[peer.address()];
    // A peer that was introduced anew begins at zero.
    const uint64_t grown = peer.tx_bytes() - (peer.tx_bytes() >= before ? before : 0);
    before = peer.tx_bytes();
    const HostId to = Find(IpAddress::FromBytes(
        {reinterpret_cast<const uint8_t*>(peer.address().data()), peer.address().size()}));
    if (!first_ && to != kNoHost) sums[{host, to}] += grown;
  }
}

}  // namespace im::orchestrator
