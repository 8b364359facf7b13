// Spawn: one process of the host, from fork to exec, with errors in words.

#ifndef IM_ORCHESTRATOR_AGENT_SPAWN_H_
#define IM_ORCHESTRATOR_AGENT_SPAWN_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "proto/agent.pb.h"

namespace im::agent {

struct SpawnOptions {
  std::vector<std::string> argv;
  std::map<std::string, std::string> environment;
  std::string working_dir;  // empty: /
  bool set_user = true;     // else the caller's is kept
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;
  std::map<std::string, uint64_t> ulimits;
  // Standard input, output and error; -1: the caller's own.
  std::array<int, 3> stdio = {-1, -1, -1};
  bool new_session = true;
  // Where the process is to live (Cgroup).
  int cgroup_fd = -1;
  std::vector<int> cgroup_joins;
  // The last thing before the process becomes the program; and what the caller
  // does meanwhile, with the process's number; its error is Spawn's. Either may
  // be empty.
  std::function<absl::Status()> in_child;
  std::function<absl::Status(pid_t)> in_caller;
};

// What of `program` concerns its start; stdio and cgroup are left alone.
SpawnOptions OptionsFor(const proto::Program& program);

// Returns when the process has become the program, or with the reason why it
// has not: "exec nginxx: No such file or directory". argv[0] without a slash
// is looked up in PATH of `environment`.
absl::StatusOr<pid_t> Spawn(const SpawnOptions& options);

// The signal of a name such as "SIGTERM", "TERM" or "15"; 0 if unknown.
int SignalOf(const std::string& name);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_SPAWN_H_
