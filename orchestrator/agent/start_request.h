// The start request: read from its descriptor, checked once.

#ifndef IM_ORCHESTRATOR_AGENT_START_REQUEST_H_
#define IM_ORCHESTRATOR_AGENT_START_REQUEST_H_

#include "base/file_descriptor.h"
#include "base/status.h"
#include "proto/agent.pb.h"

namespace im::agent {

// `fd` is a file (memfd_create(2)) or a pipe. The request is checked: keys,
// addresses, MTU, instance_dir and argv are there and have their sizes;
// defaults are filled in.
absl::StatusOr<proto::StartRequest> ReadStartRequest(FileDescriptor fd);

// The checks and defaults alone.
absl::Status CheckStartRequest(proto::StartRequest& request);

// Writes instance_dir/exit as a whole or not at all.
absl::Status WriteExitReport(const std::string& instance_dir, const proto::ExitReport& report);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_START_REQUEST_H_
