// Sandbox: the host's processes, and namespaces if it has any, seen by the agent.
//
// Start() clones init (sandbox_init.h) and returns at once; what init does
// from then on, some 2 ms of it, goes on beside the agent, which meanwhile
// speaks with the gateway. The agent stays in the namespaces where it was
// born, with the tunnel's socket; only the TUN device's descriptor comes out.
//
// Without namespaces the host's processes are ordinary ones of the agent's user,
// under a filter whose listener comes out (netstack_attachment.h). Init is there,
// too: it keeps all of them below it, and ends them when the agent goes.

#ifndef IM_ORCHESTRATOR_AGENT_SANDBOX_H_
#define IM_ORCHESTRATOR_AGENT_SANDBOX_H_

#include <sys/types.h>

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/status.h"
#include "orchestrator/agent/cgroup.h"
#include "proto/agent.pb.h"

namespace im::agent {

class Sandbox {
 public:
  class Delegate {
   public:
    virtual ~Delegate() = default;
    // For Attachment::Adopt.
    virtual void OnDescriptor(FileDescriptor fd) = 0;
    // `pid` in the agent's own PID namespace.
    virtual void OnProgramStarted(pid_t pid) = 0;
    // The sandbox, or the program in it, could not be started: SANDBOX_FAILED
    // or EXEC_FAILED.
    virtual void OnStartFailed(proto::ExitReport::Reason reason, const std::string& text) = 0;
    // `wait_status` as of wait(2).
    virtual void OnProgramEnded(int wait_status) = 0;
    // It is to be restored: all but the program is there, and awaits RunCriu.
    virtual void OnReadyToRestore() = 0;
    // Unless it has restored the program, which OnProgramStarted says. `error` is
    // not empty if CRIU was not run.
    virtual void OnCriuEnded(int wait_status, const std::string& error) = 0;
    // Of an exec session. `error` is not empty if it was not started.
    virtual void OnSessionEnded(uint32_t id, int wait_status, const std::string& error) = 0;
  };

  struct Options {
    proto::StartRequest* request = nullptr;  // init wipes the key of its copy
    const Cgroup* cgroup = nullptr;
    bool namespaces = true;
    // The program's; -1: the agent's own.
    std::array<int, 3> stdio = {-1, -1, -1};
  };

  // What `options` points to may go after Start.
  static absl::StatusOr<std::unique_ptr<Sandbox>> Start(const Options& options);
  // Kills what still runs.
  ~Sandbox();

  // Tells the delegate what has happened and will happen. Both must outlive
  // the sandbox.
  void Watch(EventLoop& loop, Delegate& delegate);

  pid_t init() const { return init_; }
  // `id` > 0, not in use. Three descriptors.
  absl::Status RunSession(uint32_t id, const proto::ExecRequest& request,
                          std::span<const int> fds);
  // CRIU as a child of the host's init, in its namespaces; one at a time. `fds`
  // are kCriuFirstFd and following ones in there.
  absl::Status RunCriu(const proto::CriuOrder& order, std::span<const int> fds);
  // id 0: the program.
  void Signal(uint32_t id, int signal);
  // Kills all processes and waits for their end.
  void Kill();

 private:
  Sandbox(FileDescriptor socket, pid_t init, bool namespaces)
      : socket_(std::move(socket)), init_(init), namespaces_(namespaces) {}
  void OnReadable();

  FileDescriptor socket_;
  pid_t init_;
  const bool namespaces_;
  Delegate* delegate_ = nullptr;
  EventLoop::Watch watch_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_SANDBOX_H_
