// What is made inside the new namespaces before the program starts: network
// interfaces, mounts, names.

#ifndef IM_ORCHESTRATOR_AGENT_INSIDE_H_
#define IM_ORCHESTRATOR_AGENT_INSIDE_H_

#include "base/status.h"
#include "base/tun_device.h"
#include "proto/agent.pb.h"

namespace im::agent {

// The network in the calling process's (new, empty) network namespace: lo up,
// im0 with the host's address, and the kernel's settings for it.
absl::StatusOr<TunDevice> MakeInsideNetwork(const proto::StartRequest& request);

// The host's own view of files in the calling process's (new) mount namespace:
// /proc, /sys, /etc/hosts, /etc/hostname, /etc/resolv.conf, and the mounts of
// the program. The files behind those of /etc lie in request.instance_dir.
absl::Status MakeInsideFiles(const proto::StartRequest& request);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INSIDE_H_
