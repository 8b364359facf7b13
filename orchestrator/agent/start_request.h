// The start request: read from its descriptor, checked once.

#ifndef IM_ORCHESTRATOR_AGENT_START_REQUEST_H_
#define IM_ORCHESTRATOR_AGENT_START_REQUEST_H_

#include <string>
#include <vector>

#include "base/dual_stack.h"
#include "base/file_descriptor.h"
#include "base/ip_address.h"
#include "base/status.h"
#include "proto/agent.pb.h"

namespace im::agent {

// `fd` is a file (memfd_create(2)) or a pipe. The request is checked: keys,
// addresses, MTU, instance_dir and argv are there and have their sizes;
// defaults are filled in.
absl::StatusOr<proto::StartRequest> ReadStartRequest(FileDescriptor fd);

// The checks and defaults alone.
absl::Status CheckStartRequest(proto::StartRequest& request);

// Of 4 or 16 bytes.
IpAddress AddressOf(const std::string& bytes);

// Whether hosts have IPv6 addresses, and which. Preconditions: the request was checked.
DualStack DualStackOf(const proto::StartRequest& request);

// What the whole network is: of IPv4, and of IPv6 if it has that. The same preconditions.
std::vector<IpPrefix> NetworksOf(const proto::StartRequest& request);

// Writes instance_dir/exit as a whole or not at all.
absl::Status WriteExitReport(const std::string& instance_dir, const proto::ExitReport& report);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_START_REQUEST_H_
