#include "orchestrator/agent/sandbox.h"

#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "orchestrator/agent/process_tree.h"
#include "orchestrator/agent/sandbox_init.h"
#include "orchestrator/agent/seq_packet.h"

namespace im::agent {

absl::StatusOr<std::unique_ptr<Sandbox>> Sandbox::Start(const Options& options) {
  IM_ASSIGN_OR_RETURN(auto sockets, MakeSeqPacketPair());
  InitOptions init;
  init.request = options.request;
  init.socket = sockets.second.get();
  init.stdio = options.stdio;
  init.cgroup_fd = options.cgroup->clone_into_fd();
  init.cgroup_joins = options.cgroup->join_fds();
  init.thaw_fd = options.cgroup->thaw_fd();
  init.cgroup_directories = options.cgroup->directories();
  init.namespaces = options.namespaces;
  // Should init be killed, its children are ours.
  if (!options.namespaces) KeepDescendants();
  // The network namespace, the one that takes long, is made by init itself,
  // beside the agent.
  const unsigned long flags =
      options.namespaces ? CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | SIGCHLD
                         : SIGCHLD;
  const pid_t pid =
      static_cast<pid_t>(syscall(SYS_clone, flags, nullptr, nullptr, nullptr, nullptr));
  if (pid == 0) RunInit(init);
  if (pid < 0) {
    const int error = errno;
    if (!options.namespaces) return ErrnoStatus("fork", error);
    absl::Status status = ErrnoStatus("make PID, mount, UTS and IPC namespaces", error);
    if (error == EPERM)
      status = Annotate(status,
                        "no sandbox can be made (run as root, or with CAP_SYS_ADMIN, or write "
                        "attach: netstack)");
    return status;
  }
  return std::unique_ptr<Sandbox>(new Sandbox(std::move(sockets.first), pid, options.namespaces));
}

Sandbox::~Sandbox() { Kill(); }

void Sandbox::Watch(EventLoop& loop, Delegate& delegate) {
  delegate_ = &delegate;
  watch_ = loop.WatchFd(socket_.get(), EPOLLIN, [this](uint32_t) { OnReadable(); });
}

absl::Status Sandbox::RunSession(uint32_t id, const proto::ExecRequest& request,
                                 std::span<const int> fds) {
  const InitMessage message{InitMessage::Kind::kRun, id};
  return SendSeqPacket(socket_.get(), message.Encode(request.SerializeAsString()), fds);
}

absl::Status Sandbox::RunCriu(const proto::CriuOrder& order, std::span<const int> fds) {
  const InitMessage message{InitMessage::Kind::kCriu};
  return SendSeqPacket(socket_.get(), message.Encode(order.SerializeAsString()), fds);
}

void Sandbox::Signal(uint32_t id, int signal) {
  const InitMessage message{InitMessage::Kind::kSignal, id, signal};
  SendSeqPacket(socket_.get(), message.Encode()).IgnoreError();
}

void Sandbox::Kill() {
  if (init_ <= 0) return;
  watch_.Reset();
  kill(init_, SIGKILL);
  if (!namespaces_) KillDescendants();
  // The end of a namespace's init waits for the end of all others in it.
  while (waitpid(init_, nullptr, 0) < 0 && errno == EINTR) {
  }
  init_ = 0;
}

void Sandbox::OnReadable() {
  while (init_ > 0) {
    absl::StatusOr<std::optional<SeqPacket>> packet = ReceiveSeqPacket(socket_.get());
    if (!packet.ok()) {
      // Init itself was killed: by the kernel for memory, or by somebody.
      watch_.Reset();
      delegate_->OnProgramEnded(SIGKILL);
      return;
    }
    if (!packet->has_value()) return;
    absl::string_view text;
    const std::optional<InitMessage> message = InitMessage::Decode((*packet)->bytes, text);
    if (!message) continue;
    switch (message->kind) {
      case InitMessage::Kind::kDescriptor:
        if ((*packet)->fds.size() == 1) delegate_->OnDescriptor(std::move((*packet)->fds[0]));
        break;
      case InitMessage::Kind::kStarted:
        if (message->id == 0)
          delegate_->OnProgramStarted(namespaces_ ? (*packet)->pid : message->value);
        break;
      case InitMessage::Kind::kSandbox:
      case InitMessage::Kind::kNotStarted:
        if (message->id == 0) {
          watch_.Reset();
          delegate_->OnStartFailed(message->kind == InitMessage::Kind::kSandbox
                                       ? proto::ExitReport::SANDBOX_FAILED
                                       : proto::ExitReport::EXEC_FAILED,
                                   std::string(text));
          return;
        }
        delegate_->OnSessionEnded(message->id, 0, std::string(text));
        break;
      case InitMessage::Kind::kEnded:
        if (message->id == 0) {
          watch_.Reset();
          delegate_->OnProgramEnded(message->value);
          return;
        }
        delegate_->OnSessionEnded(message->id, message->value, {});
        break;
      case InitMessage::Kind::kReady:
        delegate_->OnReadyToRestore();
        break;
      case InitMessage::Kind::kCriuEnded:
        delegate_->OnCriuEnded(message->value, std::string(text));
        break;
      case InitMessage::Kind::kRun:
      case InitMessage::Kind::kSignal:
      case InitMessage::Kind::kCriu:
        break;  // not for us
    }
  }
}

}  // namespace im::agent
