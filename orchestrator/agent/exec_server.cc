#include "orchestrator/agent/exec_server.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "orchestrator/agent/unix_listener.h"

namespace im::agent {
namespace {

// A client that has gone by now does not want it any more.
void SendResult(int socket, proto::ExecResult result) {
  result.set_ended(true);
  SendSeqPacket(socket, result.SerializeAsString()).IgnoreError();
}

}  // namespace

int ExitCodeOf(int wait_status) {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

absl::StatusOr<std::unique_ptr<ExecServer>> ExecServer::Listen(const std::string& path,
                                                               EventLoop& loop,
                                                               Delegate& delegate) {
  IM_ASSIGN_OR_RETURN(FileDescriptor listener, ListenAtPath(path, SOCK_SEQPACKET));
  return std::unique_ptr<ExecServer>(
      new ExecServer(path, std::move(listener), loop, delegate));
}

ExecServer::ExecServer(std::string path, FileDescriptor listener, EventLoop& loop,
                       Delegate& delegate)
    : path_(std::move(path)), listener_(std::move(listener)), loop_(loop), delegate_(delegate) {
  watch_ = loop_.WatchFd(listener_.get(), EPOLLIN, [this](uint32_t) { OnConnection(); });
}

ExecServer::~ExecServer() { unlink(path_.c_str()); }

void ExecServer::OnConnection() {
  FileDescriptor client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client.valid()) return;
  if (sessions_.size() >= kSessionsMax) {
    proto::ExecResult result;
    result.set_error(absl::StrCat("more than ", kSessionsMax, " exec sessions at once"));
    SendResult(client.get(), std::move(result));
    return;
  }
  const uint32_t id = ++last_id_;
  auto session = std::make_unique<Session>();
  session->watch =
      loop_.WatchFd(client.get(), EPOLLIN, [this, id](uint32_t) { OnClient(id); });
  session->socket = std::move(client);
  sessions_.emplace(id, std::move(session));
}

void ExecServer::OnClient(uint32_t id) {
  Session& session = *sessions_.at(id);
  absl::StatusOr<std::optional<SeqPacket>> packet = ReceiveSeqPacket(session.socket.get());
  if (packet.ok()) {
    if (packet->has_value()) OnMessage(id, **std::move(packet));
    return;
  }
  session.watch.Reset();
  session.socket.Reset();
  if (session.running) {
    delegate_.SignalSession(id, SIGHUP);  // remembered until the command ends
  } else {
    sessions_.erase(id);
  }
}

void ExecServer::OnMessage(uint32_t id, SeqPacket packet) {
  Session& session = *sessions_.at(id);
  proto::ExecToAgent message;
  if (!message.ParseFromString(packet.bytes)) return;
  if (message.has_signal()) {
    if (session.running) delegate_.SignalSession(id, message.signal().signal());
    return;
  }
  if (!message.has_request() || session.running) return;
  absl::Status status;
  if (packet.fds.size() != 3) {
    status = absl::InvalidArgumentError("a request comes with three descriptors");
  } else if (message.request().argv().empty()) {
    status = absl::InvalidArgumentError("no command");
  } else {
    session.running = true;
    delegate_.OnSessionsChanged(++running_);
    const int fds[] = {packet.fds[0].get(), packet.fds[1].get(), packet.fds[2].get()};
    status = delegate_.RunSession(id, message.request(), fds);
  }
  if (status.ok()) return;
  proto::ExecResult result;
  result.set_error(std::string(status.message()));
  Finish(id, std::move(result));
}

void ExecServer::OnSessionEnded(uint32_t id, int wait_status, const std::string& error) {
  if (!sessions_.contains(id)) return;
  proto::ExecResult result;
  result.set_error(error);
  // As a shell says it of a command that it cannot run.
  result.set_exit_code(error.empty() ? ExitCodeOf(wait_status) : 127);
  Finish(id, std::move(result));
}

void ExecServer::Finish(uint32_t id, proto::ExecResult result) {
  auto found = sessions_.find(id);
  const std::unique_ptr<Session> session = std::move(found->second);
  sessions_.erase(found);
  if (session->socket.valid()) SendResult(session->socket.get(), std::move(result));
  if (session->running) delegate_.OnSessionsChanged(--running_);
}

}  // namespace im::agent
