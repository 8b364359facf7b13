// The metrics of one cluster: all that imd counts, as Prometheus reads it.
//
// What there is one of per cluster has a handful of series, however many hosts
// there are. Series per host (label "host") are there only for hosts that have
// an instance, since of others there is nothing to tell; and for at most
// kHostSeriesMax of those, the first ones of cluster.yaml, so that it is the
// same ones each time. im_hosts_without_series says how many were left out. So
// an answer has at most about 6,000 lines and 500 KB, for 100,000 hosts too.
//
// Figures of hosts are those that their agents told last, 2 s ago at most:
// nobody is asked or woken for a scrape.

#ifndef IM_ORCHESTRATOR_CLUSTER_METRICS_H_
#define IM_ORCHESTRATOR_CLUSTER_METRICS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/counters.h"
#include "orchestrator/controller.h"

namespace im::orchestrator {

inline constexpr size_t kHostSeriesMax = 1000;

// What the controller does not know of.
struct EdgeFigures {
  DropCounters tunnel_drops;  // of the gateway's tunnel and its socket
  uint64_t tunnel_rx_bytes = 0;
  uint64_t tunnel_tx_bytes = 0;
  size_t published_connections = 0;
  size_t api_calls = 0;
};

std::string ClusterMetrics(const Controller& controller, const EdgeFigures& edge, Instant now);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_CLUSTER_METRICS_H_
