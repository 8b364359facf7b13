// ExecServer: commands run beside the program, for `im exec`.
//
// A client connects to agent.sock (SOCK_SEQPACKET) and sends one
// proto::ExecToAgent with a request and three descriptors, then any number of
// signals; it gets one proto::ExecResult, marked as `ended`. When it goes
// before that, the command gets SIGHUP, as from a terminal that is closed.

#ifndef IM_ORCHESTRATOR_AGENT_EXEC_SERVER_H_
#define IM_ORCHESTRATOR_AGENT_EXEC_SERVER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/status.h"
#include "orchestrator/agent/seq_packet.h"
#include "proto/agent.pb.h"

namespace im::agent {

class ExecServer {
 public:
  // Clients at once; further ones are told so and closed.
  static constexpr size_t kSessionsMax = 64;

  class Delegate {
   public:
    virtual ~Delegate() = default;
    virtual absl::Status RunSession(uint32_t id, const proto::ExecRequest& request,
                                    std::span<const int> fds) = 0;
    virtual void SignalSession(uint32_t id, int signal) = 0;
    // `running`: commands that were started and have not ended.
    virtual void OnSessionsChanged(int running) = 0;
  };

  // `loop` and `delegate` must outlive the server. A socket that an earlier
  // agent left is replaced.
  static absl::StatusOr<std::unique_ptr<ExecServer>> Listen(const std::string& path,
                                                            EventLoop& loop, Delegate& delegate);
  ~ExecServer();  // removes the socket

  // `error` is not empty if the command could not be started.
  void OnSessionEnded(uint32_t id, int wait_status, const std::string& error);

 private:
  struct Session {
    FileDescriptor socket;  // invalid: the client has gone
    EventLoop::Watch watch;
    bool running = false;
  };

  ExecServer(std::string path, FileDescriptor listener, EventLoop& loop, Delegate& delegate);
  void OnConnection();
  void OnClient(uint32_t id);
  void OnMessage(uint32_t id, SeqPacket packet);
  void Finish(uint32_t id, proto::ExecResult result);

  const std::string path_;
  FileDescriptor listener_;
  EventLoop& loop_;
  Delegate& delegate_;
  EventLoop::Watch watch_;
  uint32_t last_id_ = 0;
  int running_ = 0;
  absl::flat_hash_map<uint32_t, std::unique_ptr<Session>> sessions_;
};

// An exit status as a shell has it: 128 + n for signal n.
int ExitCodeOf(int wait_status);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_EXEC_SERVER_H_
