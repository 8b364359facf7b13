// imd as `im up` starts it: in a session of its own (so that a Ctrl-C reaches
// `im up` alone), with its output in STATE_DIRECTORY/imd.log.

#ifndef IM_ORCHESTRATOR_CLI_DAEMON_H_
#define IM_ORCHESTRATOR_CLI_DAEMON_H_

#include <sys/types.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "orchestrator/cluster_spec.h"

namespace im::orchestrator::cli {

struct DaemonOptions {
  std::string program;  // imd
  std::string spec_path;
  std::string state_directory;  // made if it is not there
  std::optional<uid_t> owner;   // who may talk to it besides its own user
  AttachMode auto_attach = AttachMode::kTun;  // what `attach: auto` is here
  std::string http;     // the same of the dashboard; empty: not before it is asked for
  std::string metrics;  // address and port to serve them on; empty: the socket alone
  // It gets SIGTERM when the starting process ends, however that ends.
  bool ends_with_us = false;
};

// Who became root by sudo, out of $SUDO_UID; nullopt: nobody did.
std::optional<uid_t> SudoUser(uid_t effective, const char* sudo_uid);

std::string DaemonLog(const std::string& state_directory);

// The last lines of the log, indented, for messages; empty if there are none.
std::string DaemonLogTail(const std::string& state_directory);

// Returns when imd has said that it is ready. A failure's message holds the
// last lines of its log.
absl::StatusOr<pid_t> StartDaemon(const DaemonOptions& options);

// "was killed by signal 9", out of a status of waitpid(2).
std::string HowItEnded(int status);

// Waits for a process that need not be our child; false on a timeout.
bool WaitForExit(pid_t pid, Duration timeout);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_DAEMON_H_
