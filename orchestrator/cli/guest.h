// A guest: a one-off program that joins a cluster's network (`im run`). The
// agent runs as our child, with our stdio.

#ifndef IM_ORCHESTRATOR_CLI_GUEST_H_
#define IM_ORCHESTRATOR_CLI_GUEST_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "orchestrator/cli/signal_relay.h"
#include "proto/agent.pb.h"

namespace im::orchestrator::cli {

// The program as it would run without us: this process's user, groups,
// environment and working directory.
absl::Status FillGuestProgram(const std::vector<std::string>& command, proto::Program& program);

// A directory for an agent that may not write to the cluster's, of a user who
// did not bring it up as such. It goes with the object. Nobody can `im exec`
// into a guest there.
class OwnDirectory {
 public:
  OwnDirectory() = default;
  OwnDirectory(const OwnDirectory&) = delete;
  OwnDirectory& operator=(const OwnDirectory&) = delete;
  ~OwnDirectory();
  absl::StatusOr<std::string> Make();

 private:
  std::string path_;
};

// Starts `agent` with the request. The request holds a key: it is handed over
// in memory.
absl::StatusOr<pid_t> StartGuestAgent(const std::string& agent,
                                      const proto::StartRequest& request,
                                      const SignalRelay& signals);

// Passes signals on until the agent has ended; returns its exit code, 128 + n
// for a signal.
int WaitForGuest(pid_t agent, SignalRelay& signals);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_GUEST_H_
