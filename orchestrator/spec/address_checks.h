// Which address each host has: those that are asked for, by either family, and the rest.

#ifndef IM_ORCHESTRATOR_SPEC_ADDRESS_CHECKS_H_
#define IM_ORCHESTRATOR_SPEC_ADDRESS_CHECKS_H_

#include <vector>

#include "orchestrator/cluster_spec.h"
#include "orchestrator/spec/diagnostic_sink.h"
#include "orchestrator/spec/host_parser.h"

namespace im::orchestrator {

// Explicit addresses first, then the others in the order of the file. An address of IPv6 asks
// for the one of IPv4 that goes with it. Reports every mistake and leaves the rest usable.
// Preconditions: cluster.network is valid, cluster.hosts is what ExpandReplicas makes of the drafts.
void AssignAddresses(const std::vector<HostDraft>& drafts, ClusterSpec& cluster,
                     DiagnosticSink& sink);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_SPEC_ADDRESS_CHECKS_H_
