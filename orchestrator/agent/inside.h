// What is made inside the new namespaces before the program starts: network
// interfaces, mounts, names.

#ifndef IM_ORCHESTRATOR_AGENT_INSIDE_H_
#define IM_ORCHESTRATOR_AGENT_INSIDE_H_

#include <string>
#include <utility>
#include <vector>

#include "base/file_descriptor.h"
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
// With an image its files are the root directory (image_root.h).
absl::Status MakeInsideFiles(const proto::StartRequest& request);

// What /etc has of names, as a file's path and text: hosts, hostname, resolv.conf.
std::vector<std::pair<std::string, std::string>> NameFiles(const proto::StartRequest& request);
// Writes `text` to a file of request.instance_dir; returns its path.
absl::StatusOr<std::string> WriteInstanceFile(const proto::StartRequest& request,
                                              const std::string& name, const std::string& text);
// The machine's cgroups, detached from their place; invalid: there are none.
FileDescriptor CloneCgroups();
// A /sys that shows this namespace's interfaces, with those cgroups. Where it is not permitted,
// /sys stays as it is.
void ShowSys(const FileDescriptor& cgroups);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INSIDE_H_
