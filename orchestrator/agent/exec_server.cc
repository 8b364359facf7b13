#include "orchestrator/agent/exec_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace im::agent {
namespace {

constexpr int kBacklog = 16;

// Binds `socket` to `path`, by way of the directory's descriptor where the
// path is longer than an address takes.
absl::Status BindTo(int socket, const std::string& path) {
  const size_t slash = path.rfind('/');
  FileDescriptor directory;
  std::string reachable = path;
  sockaddr_un address = {};
  if (path.size() >= sizeof(address.sun_path)) {
    directory = FileDescriptor(
        open(path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) return ErrnoStatus(absl::StrCat("open the directory of ", path));
    reachable = absl::StrCat("/proc/self/fd/", directory.get(), path.substr(slash));
  }
  if (reachable.size() >= sizeof(address.sun_path))
    return absl::InvalidArgumentError(absl::StrCat("name of socket too long: ", path));
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, reachable.c_str(), reachable.size() + 1);
  unlink(path.c_str());
  if (bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
    return ErrnoStatus(absl::StrCat("bind ", path));
  chmod(path.c_str(), 0600);
  return absl::OkStatus();
}

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
  FileDescriptor listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.valid()) return ErrnoStatus("make a Unix socket");
  IM_RETURN_IF_ERROR(BindTo(listener.get(), path));
  if (listen(listener.get(), kBacklog) != 0) return ErrnoStatus(absl::StrCat("listen on ", path));
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
