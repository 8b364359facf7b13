// From a ClusterSpec to the rows of the HostTable.

#ifndef IM_ORCHESTRATOR_HOST_SETUP_H_
#define IM_ORCHESTRATOR_HOST_SETUP_H_

#include "base/clock.h"
#include "base/status.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/host_table.h"

namespace im::orchestrator {

// From the stop signal's grace to the kill, beyond the grace: the way there
// and the agent's own end.
inline constexpr Duration kStopMargin = std::chrono::seconds(5);

// How long a release may take beyond that where processes go to disk: some GB
// to a slow one.
inline constexpr Duration kDumpMax = std::chrono::minutes(2);

// Of guests: from the join to the first status.
inline constexpr Duration kGuestStartTimeout = std::chrono::seconds(30);

HostPolicy PolicyOf(const HostSpec& host);

// Adds all hosts; the HostId of a host is its index in the spec.
// Preconditions: `table` is empty.
absl::Status AddHosts(const ClusterSpec& spec, Instant now, HostTable& table);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_HOST_SETUP_H_
