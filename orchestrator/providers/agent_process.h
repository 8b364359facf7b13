// One im-agent as a process: begun, told apart from others, waited for.

#ifndef IM_ORCHESTRATOR_PROVIDERS_AGENT_PROCESS_H_
#define IM_ORCHESTRATOR_PROVIDERS_AGENT_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/file_descriptor.h"
#include "base/status.h"

namespace im::orchestrator {

struct AgentCommand {
  std::string agent_path;
  FileDescriptor start_request;  // becomes descriptor 3
  std::string log_path;          // takes the agent's stdout and stderr
  std::string instance_dir;      // these two for FindAgents
  uint64_t incarnation = 0;
};

// An anonymous file that holds `first` and then `second`, at offset 0.
absl::StatusOr<FileDescriptor> MakeRequestFile(absl::string_view first, absl::string_view second);

// Runs "AGENT --start-fd 3" in a session of its own, with default signals and
// no other descriptor of ours. Nothing of this process's memory is copied
// (posix_spawn shares it until the exec), so that the cost does not grow with
// our size. An exec that fails is reported here.
absl::StatusOr<pid_t> SpawnAgent(const AgentCommand& command);

// Agents by SpawnAgent that run now and whose instance_dir begins with
// `directory`, whoever started them.
struct FoundAgent {
  std::string instance_dir;
  uint64_t incarnation = 0;
  pid_t pid = 0;
};
std::vector<FoundAgent> FindAgents(absl::string_view directory);

// Field 22 of /proc/PID/stat: when the process began, in clock ticks since
// boot. nullopt: there is no such process.
std::optional<uint64_t> StartTicks(pid_t pid);

// A descriptor that becomes readable when the process ends.
absl::StatusOr<FileDescriptor> OpenPidfd(pid_t pid);

// "killed by signal 9", "exited with status 3". Reaps the process if it is a
// child of ours that has ended; empty if it is not.
std::string ReapAndDescribe(int pidfd, int* signal, int* exit_code);

absl::Status SignalPidfd(int pidfd, int signal);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_PROVIDERS_AGENT_PROCESS_H_
