#include "tunnel/uapi_server.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/log.h"
#include "tunnel/driver.h"
#include "tunnel/uapi.h"

namespace im::tunnel {
namespace {

constexpr size_t kReadBytes = 16 << 10;
constexpr int kBacklog = 16;
// Answers that wait for a reader: a few of the longest.
constexpr size_t kUnreadBytesMax = 64 << 20;

absl::StatusOr<sockaddr_un> UnixAddress(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("listen at ", path, ": the path is too long"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

bool SomebodyListens(const sockaddr_un& address) {
  FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return fd.valid() &&
         connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

absl::Status Set(absl::string_view lines, Driver& driver) {
  absl::StatusOr<UapiSet> set = ParseUapiSet(lines);
  if (!set.ok()) return set.status();
  if (set->listen_port) {
    Endpoint listen = driver.local_endpoint();
    listen.port = *set->listen_port;
    IM_RETURN_IF_ERROR(driver.Rebind(listen));
  }
  if (set->fwmark) IM_RETURN_IF_ERROR(driver.SetFwmark(*set->fwmark));
  absl::Status status;
  driver.Change([&](Device& device, Instant now, Outbox& out) {
    status = ApplyUapiSet(*set, device, now, out);
  });
  return status;
}

}  // namespace

std::string UapiSocketPath(absl::string_view interface_name) {
  return absl::StrCat(kUapiDirectory, "/", interface_name, ".sock");
}

absl::StatusOr<FileDescriptor> ListenUapi(const std::string& path) {
  IM_ASSIGN_OR_RETURN(const sockaddr_un address, UnixAddress(path));
  // wg(8) asks what ends in .sock, and removes what refuses. Between bind() and
  // listen() a socket refuses, so it gets its name only then.
  const std::string unready = absl::StrCat(path, ".", getpid());
  IM_ASSIGN_OR_RETURN(const sockaddr_un unready_address, UnixAddress(unready));
  const std::string attempt = absl::StrCat("listen at ", path);
  const std::string directory = path.substr(0, path.rfind('/'));
  if (!directory.empty() && mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return ErrnoStatus(absl::StrCat("make ", directory));
  }
  if (SomebodyListens(address)) {
    return absl::AlreadyExistsError(absl::StrCat(attempt, ": another process does"));
  }
  for (const std::string& left_over : {path, unready}) {
    if (unlink(left_over.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(attempt);
  }
  FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoStatus(attempt);
  // Private keys are read here, so the file is never open to others, not even
  // between bind and chmod.
  const mode_t mask = umask(0177);
  const int bound = bind(fd.get(), reinterpret_cast<const sockaddr*>(&unready_address),
                         sizeof(unready_address));
  const int error = errno;
  umask(mask);
  if (bound != 0) return ErrnoStatus(attempt, error);
  absl::Status status;
  // Unlike rename(), link() takes nobody's name away.
  if (listen(fd.get(), kBacklog) != 0 || link(unready.c_str(), path.c_str()) != 0) {
    status = ErrnoStatus(attempt);
  }
  unlink(unready.c_str());
  if (!status.ok()) return status;
  return fd;
}

std::string AnswerUapi(absl::string_view request, Driver& driver) {
  absl::Status status;
  if (request == "get=1") {
    return FormatUapiGet(driver.device(), driver.local_endpoint().port, driver.fwmark());
  }
  if (request == "set=1" || absl::ConsumePrefix(&request, "set=1\n")) {
    status = Set(request == "set=1" ? "" : request, driver);
  } else {
    status = absl::UnimplementedError("neither get=1 nor set=1");
  }
  if (!status.ok()) IM_LOG(kWarning, "configuration refused: ", status.ToString());
  return FormatUapiErrno(status);
}

struct UapiServer::Connection {
  FileDescriptor fd;
  std::string unread;     // of the other end: answers not yet written
  std::string request;    // up to now
  size_t searched = 0;    // bytes of it known to hold no empty line
  bool finished = false;  // the other end sends no more
  EventLoop::Watch watch;
};

UapiServer::UapiServer(FileDescriptor listener, std::string path, EventLoop& loop,
                       std::function<std::string(absl::string_view)> answer,
                       std::function<void()> on_removed)
    : listener_(std::move(listener)),
      path_(std::move(path)),
      loop_(loop),
      answer_(std::move(answer)),
      on_removed_(std::move(on_removed)) {}

absl::StatusOr<std::unique_ptr<UapiServer>> UapiServer::Create(
    FileDescriptor listener, const std::string& path, EventLoop& loop,
    std::function<std::string(absl::string_view)> answer, std::function<void()> on_removed) {
  IM_RETURN_IF_ERROR(listener.SetNonBlocking());
  std::unique_ptr<UapiServer> server(new UapiServer(std::move(listener), path, loop,
                                                    std::move(answer), std::move(on_removed)));
  if (!path.empty()) IM_RETURN_IF_ERROR(server->WatchFile());
  server->listener_watch_ = loop.WatchFd(server->listener_.get(), EPOLLIN,
                                         [s = server.get()](uint32_t) { s->Accept(); });
  return server;
}

UapiServer::~UapiServer() {
  if (!path_.empty()) unlink(path_.c_str());
}

absl::Status UapiServer::WatchFile() {
  inotify_ = FileDescriptor(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify_.valid() ||
      // The last name of a file going is a change of its attributes.
      inotify_add_watch(inotify_.get(), path_.c_str(), IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF) <
          0) {
    return ErrnoStatus(absl::StrCat("watch ", path_));
  }
  inotify_watch_ = loop_.WatchFd(inotify_.get(), EPOLLIN, [this](uint32_t) { OnFileEvent(); });
  return absl::OkStatus();
}

void UapiServer::OnFileEvent() {
  alignas(inotify_event) char events[4096];
  while (read(inotify_.get(), events, sizeof(events)) > 0) {
  }
  if (access(path_.c_str(), F_OK) == 0 || errno != ENOENT) return;
  inotify_watch_.Reset();
  path_.clear();
  if (on_removed_) on_removed_();
}

void UapiServer::Accept() {
  FileDescriptor fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) return;
  if (connections_.size() >= kUapiConnectionsMax) connections_.pop_front();
  Connection& connection = connections_.emplace_back();
  connection.fd = std::move(fd);
  connection.watch = loop_.WatchFd(
      connection.fd.get(), EPOLLIN,
      [this, &connection](uint32_t events) { OnReady(connection, events); });
}

void UapiServer::OnReady(Connection& connection, uint32_t events) {
  bool keep = true;
  if ((events & ~uint32_t{EPOLLOUT}) != 0) keep = ReadRequests(connection);
  keep = WriteAnswers(connection) && keep;
  if (connection.unread.size() > kUnreadBytesMax) keep = false;
  if (connection.finished && connection.unread.empty()) keep = false;
  if (!keep) {
    connections_.remove_if([&](const Connection& c) { return &c == &connection; });
    return;
  }
  const uint32_t reads = connection.finished ? 0 : uint32_t{EPOLLIN};
  connection.watch.SetEvents(reads | (connection.unread.empty() ? 0 : uint32_t{EPOLLOUT}));
}

// False when the connection is to be closed.
bool UapiServer::ReadRequests(Connection& connection) {
  char bytes[kReadBytes];
  const ssize_t size = read(connection.fd.get(), bytes, sizeof(bytes));
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  if (size == 0) connection.finished = true;
  std::string& request = connection.request;
  request.append(bytes, static_cast<size_t>(size));
  size_t begin = 0;
  while (true) {
    const size_t end = request.find("\n\n", std::max(begin, connection.searched));
    if (end == std::string::npos) break;
    connection.unread += answer_(absl::string_view(request).substr(begin, end - begin));
    begin = connection.searched = end + 2;
  }
  request.erase(0, begin);
  connection.searched = request.empty() ? 0 : request.size() - 1;
  return request.size() <= kUapiRequestBytesMax;
}

bool UapiServer::WriteAnswers(Connection& connection) {
  std::string& unread = connection.unread;
  size_t written = 0;
  while (written < unread.size()) {
    const ssize_t size = send(connection.fd.get(), unread.data() + written,
                              unread.size() - written, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (size < 0) return false;
    written += static_cast<size_t>(size);
  }
  unread.erase(0, written);
  return true;
}

}  // namespace im::tunnel
