// HostView: what `im ps` and `im why` are told of a host.

#ifndef IM_ORCHESTRATOR_HOST_VIEW_H_
#define IM_ORCHESTRATOR_HOST_VIEW_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "orchestrator/controller.h"
#include "proto/api.pb.h"

namespace im::orchestrator {

proto::HostInfo DescribeHost(const Controller& controller, HostId host, Instant now,
                             int64_t unix_nanos);

// What now keeps the host from being paused or released, in words; empty for
// a host that is not up.
std::vector<std::string> KeepsUp(const Controller& controller, HostId host, Instant now);

// As `im ps --json` and the dashboard call it; empty for a host that never woke.
absl::string_view WakeKindName(History::WakeKind kind);

proto::Cluster DescribeCluster(Controller& controller);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_HOST_VIEW_H_
