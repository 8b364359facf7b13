// What we read of /proc: tasks' states, processes' memory, connections.

#ifndef IM_ORCHESTRATOR_AGENT_PROC_STAT_H_
#define IM_ORCHESTRATOR_AGENT_PROC_STAT_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/clock.h"

namespace im::agent {

// proc_pid_stat(5), the fields that are used.
struct ProcStat {
  std::string name;
  char state = '?';
  pid_t parent = 0;
  Duration cpu{0};  // user and system
  uint64_t resident_bytes = 0;
  uint64_t children_faults = 0;  // minor ones, of children that were waited for
};
// nullopt for what is not of that form.
std::optional<ProcStat> ParseProcStat(absl::string_view text);

// nullopt if the process is gone.
std::optional<ProcStat> ReadProcStat(pid_t pid);

struct TaskCounts {
  int running = 0;    // state R
  int disk_wait = 0;  // state D
  std::string name;   // of one of these
};
// Counts the threads of `processes`.
TaskCounts CountTasks(const std::vector<pid_t>& processes);

// `root` and all that descend from it, without `root` itself.
std::vector<pid_t> Descendants(pid_t root);

// Lines of /proc/PID/net/tcp and tcp6 in state ESTABLISHED, except those
// within the host (loopback).
int CountEstablished(absl::string_view proc_net_tcp);
int CountConnections(pid_t process_in_namespace);

// Whether one of those lines, or of those of udp and udp6, is of a socket that takes what anybody
// sends to the port, not on loopback alone.
enum class SocketKind { kTcp, kUdp };
bool ListensOutside(absl::string_view proc_net, SocketKind kind, uint16_t port);

// Names of tasks may be any bytes; where they go they must be text.
std::string PrintableName(absl::string_view name);

// The entries of a directory that are numbers.
std::vector<pid_t> NumbersIn(const std::string& path);

// The whole of a small file of /proc or of a cgroup; empty if it cannot be
// read.
std::string ReadSmallFile(const std::string& path);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_PROC_STAT_H_
