// The client's side of agent.sock (proto/agent.proto): one program run inside
// a host, with this process's stdio.

#ifndef IM_ORCHESTRATOR_CLI_AGENT_SOCKET_H_
#define IM_ORCHESTRATOR_CLI_AGENT_SOCKET_H_

#include <array>
#include <string>

#include "absl/status/statusor.h"
#include "base/file_descriptor.h"
#include "proto/agent.pb.h"

namespace im::orchestrator::cli {

class AgentSocket {
 public:
  // `instance_directory` may be longer than a socket's path can be.
  static absl::StatusOr<AgentSocket> Connect(const std::string& instance_directory);

  // The command's stdin, stdout and stderr go along; they stay open here, too.
  absl::Status SendRequest(const proto::ExecRequest& request,
                           const std::array<int, 3>& stdio = {0, 1, 2});
  absl::Status SendSignal(int signal);
  // Blocks. Aborted if the agent went away without an answer.
  absl::StatusOr<proto::ExecResult> ReceiveResult();

  int fd() const { return socket_.get(); }

 private:
  explicit AgentSocket(FileDescriptor socket) : socket_(std::move(socket)) {}

  FileDescriptor socket_;
};

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_AGENT_SOCKET_H_
