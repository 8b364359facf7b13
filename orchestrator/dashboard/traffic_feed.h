// TrafficFeed: who sent how much to whom since the last look, for arrows.
//
// Two sources, both measured where the packets are: the gateway counts what
// passes through it (first packets, relayed ones, published ports), and each
// agent tells what its tunnel sent directly to which peer, at most every 2 s
// (InstanceStatus.peers). Of the latter the growth since the last status counts.

#ifndef IM_ORCHESTRATOR_DASHBOARD_TRAFFIC_FEED_H_
#define IM_ORCHESTRATOR_DASHBOARD_TRAFFIC_FEED_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "orchestrator/controller.h"

namespace im::orchestrator {

class TrafficFeed {
 public:
  struct Flow {
    HostId from;  // kNoHost: the gateway, for clients of published ports
    HostId to;
    uint64_t bytes;
  };
  // The largest ones; further ones are left out.
  static constexpr size_t kFlowsMax = 256;
  // Of one instance: what it sends to others later is left out.
  static constexpr size_t kPeersMax = 1024;

  // `controller` must outlive it. Only one of it at a time.
  explicit TrafficFeed(Controller& controller);
  ~TrafficFeed();

  std::vector<Flow> Take();

 private:
  struct Told {
    uint64_t incarnation = 0;
    uint64_t version = 0;
    absl::flat_hash_map<std::string, uint64_t> bytes;  // by the peer's address
  };
  using Sums = absl::flat_hash_map<std::pair<HostId, HostId>, uint64_t>;

  HostId Find(const IpAddress& address) const;
  void TakeDirect(HostId host, const Instance& instance, Sums& sums);

  Controller& controller_;
  absl::flat_hash_map<HostId, Told> told_;
  bool first_ = true;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_DASHBOARD_TRAFFIC_FEED_H_
