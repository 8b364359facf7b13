// Listening on a Unix socket at a path of any length.

#ifndef IM_ORCHESTRATOR_AGENT_UNIX_LISTENER_H_
#define IM_ORCHESTRATOR_AGENT_UNIX_LISTENER_H_

#include <string>

#include "base/file_descriptor.h"
#include "base/status.h"

namespace im::agent {

// Non-blocking, for our own user alone; one that was left there is replaced.
// `type`: SOCK_SEQPACKET or SOCK_STREAM.
absl::StatusOr<FileDescriptor> ListenAtPath(const std::string& path, int type);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_UNIX_LISTENER_H_
