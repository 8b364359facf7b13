// From a HostSpec to the messages that the host's agent is started with.

#ifndef IM_ORCHESTRATOR_HOST_PROGRAM_H_
#define IM_ORCHESTRATOR_HOST_PROGRAM_H_

#include <string>

#include "base/status.h"
#include "orchestrator/cluster_spec.h"
#include "proto/agent.pb.h"

namespace im::orchestrator {

// The search path of a program whose environment names none.
inline constexpr char kDefaultPath[] =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// What hosts with an image have written, each in a directory of its name: kept while the
// cluster is up, so that a host finds it again after it was released.
std::string LayersDirectory(const ClusterSpec& cluster);

// Fills `program` whole: the user looked up (getpwnam(3)), PATH, HOME and
// HOSTNAME added where the environment lacks them, named volumes made. With an image the user is
// one of the image's.
absl::Status FillProgram(const ClusterSpec& cluster, const HostSpec& host,
                         proto::Program& program);

// Fills everything of a start request that the spec alone decides: cluster,
// host, addresses, domain, hostname, program, idle, start_timeout and log
// limits. Keys, endpoints, incarnation and directories are the caller's.
absl::Status FillStartRequest(const ClusterSpec& cluster, const HostSpec& host,
                              proto::StartRequest& request);

// All names of the cluster: hosts, their aliases, and services, which stand for
// their first replica. Replicas' own names are a few bytes, however many they are.
void FillNameTable(const ClusterSpec& cluster, proto::NameTable& table);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_HOST_PROGRAM_H_
