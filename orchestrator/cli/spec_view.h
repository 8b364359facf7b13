// A parsed cluster.yaml on the terminal.

#ifndef IM_ORCHESTRATOR_CLI_SPEC_VIEW_H_
#define IM_ORCHESTRATOR_CLI_SPEC_VIEW_H_

#include <string>

#include "orchestrator/cli/terminal.h"
#include "orchestrator/cluster_spec.h"

namespace im::orchestrator::cli {

// Errors and warnings to stderr, one line each, and how many there are.
void PrintDiagnostics(const ParsedClusterSpec& parsed);

// "shop: 3 hosts in 10.77.0.0/16", then a line for each host with its address
// and where it is published.
std::string SpecSummary(const ClusterSpec& spec, const Terminal& terminal);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_SPEC_VIEW_H_
