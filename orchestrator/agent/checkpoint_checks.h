// What keeps a host's processes from going to disk.
//
// CRIU says no to much by itself, and leaves the host as it was. These are the
// cases in which it would say yes, and something would be lost all the same:
// processes that are not in the program's tree, connections that live in the
// kernel alone, and sleeps that it ends early.

#ifndef IM_ORCHESTRATOR_AGENT_CHECKPOINT_CHECKS_H_
#define IM_ORCHESTRATOR_AGENT_CHECKPOINT_CHECKS_H_

#include <sys/types.h>

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "base/status.h"

namespace im::agent {

// Numbers in the host's own PID namespace.
struct TreeNumbers {
  uint32_t root = 0;     // of the program
  uint32_t highest = 0;  // of processes, threads, process groups and sessions
  uint32_t uid = 0, gid = 0;  // the program's
};

// `processes` are all of the host's, the program among them. FailedPrecondition:
// one is not the program's descendant, as a daemon that left it.
absl::StatusOr<TreeNumbers> LookAtTree(pid_t program, const std::vector<pid_t>& processes);

// The text of /proc/PID/net/tcp or tcp6. FailedPrecondition: a connection is
// being opened or closed; no process has it, and the kernel's part would be lost.
absl::Status CheckConnections(absl::string_view proc_net_tcp);

// The text of /proc/PID/net/udp or udp6. FailedPrecondition: a socket has a datagram that
// was not read, and is not bound to one of `ports`, of which we have them.
absl::Status CheckDatagrams(absl::string_view proc_net_udp,
                            const absl::flat_hash_set<uint16_t>& ports);

// The text of /proc/PID/task/TID/syscall of a frozen task. FailedPrecondition: it
// sleeps for some time, and would be woken as soon as it is restored.
absl::Status CheckSleep(absl::string_view proc_syscall);

// The number of a process in the host's own PID namespace; 0: it is gone.
uint32_t InnerNumberOf(pid_t pid);

// All of them. `init` is the first process of the host's namespaces.
absl::StatusOr<TreeNumbers> CheckForDump(pid_t init, pid_t program,
                                         const std::vector<pid_t>& processes);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_CHECKPOINT_CHECKS_H_
