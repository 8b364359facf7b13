#include "orchestrator/metrics_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status.h"

namespace im::orchestrator {
namespace {

constexpr char kTextType[] = "text/plain; version=0.0.4; charset=utf-8";
constexpr int kBacklog = 16;
// After the process or the machine ran out of descriptors.
constexpr Duration kRetryInterval = std::chrono::seconds(1);

}  // namespace

MetricsServer::MetricsServer(EventLoop& loop, std::function<std::string()> render)
    : loop_(loop), render_(std::move(render)) {}

MetricsServer::~MetricsServer() {
  if (socket_directory_.valid()) unlinkat(socket_directory_.get(), socket_path_.c_str(), 0);
}

// ---- listening --------------------------------------------------------------

absl::Status MetricsServer::ListenUnix(const std::string& directory, const std::string& name,
                                       std::optional<uid_t> owner) {
  const std::string what = absl::StrCat("metrics socket ", directory, "/", name);
  FileDescriptor place(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!place.valid()) return ErrnoStatus(what);
  const std::string path = absl::StrCat("/proc/self/fd/", place.get(), "/", name);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(what, ": its name is too long"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return ErrnoStatus(what);
  unlinkat(place.get(), name.c_str(), 0);
  if (fchmod(socket.get(), 0600) < 0 ||
      bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0 ||
      fchmodat(place.get(), name.c_str(), 0600, 0) < 0 ||
      (owner && fchownat(place.get(), name.c_str(), *owner, static_cast<gid_t>(-1), 0) < 0) ||
      listen(socket.get(), kBacklog) < 0) {
    return ErrnoStatus(what);
  }
  socket_directory_ = std::move(place);
  socket_path_ = name;
  Listen(std::move(socket));
  return absl::OkStatus();
}

absl::StatusOr<Endpoint> MetricsServer::ListenTcp(const Endpoint& at) {
  const std::string what = absl::StrCat("metrics: listen on ", at.ToString());
  sockaddr_storage address{};
  socklen_t size = at.ToSockaddr(address);
  FileDescriptor socket(
      ::socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!socket.valid()) return ErrnoStatus(what);
  const int on = 1;
  setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address.ss_family == AF_INET6)
    setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) < 0 ||
      listen(socket.get(), kBacklog) < 0) {
    if (errno == EADDRINUSE) {
      return absl::AlreadyExistsError(
          absl::StrCat("metrics: ", at.ToString(), " is in use by another program"));
    }
    return ErrnoStatus(what);
  }
  size = sizeof(address);
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
  Listen(std::move(socket));
  return Endpoint::FromSockaddr(address);
}

void MetricsServer::Listen(FileDescriptor socket) {
  Listener& listener = *listeners_.emplace_back(std::make_unique<Listener>());
  listener.socket = std::move(socket);
  listener.watch =
      loop_.WatchFd(listener.socket.get(), EPOLLIN, [this, &listener](uint32_t) {
        Accept(listener);
      });
}

void MetricsServer::Accept(Listener& listener) {
  // One a turn: the loop has better things to do.
  FileDescriptor socket(
      accept4(listener.socket.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket.valid()) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      IM_LOG(kWarning, "metrics: accept: ", strerrordesc_np(errno));
      listener.watch.SetEvents(0);
      listener.retry =
          loop_.After(kRetryInterval, [&listener] { listener.watch.SetEvents(EPOLLIN); });
    }
    return;
  }
  if (connections_.size() >= kConnectionsMax) connections_.pop_front();
  const auto it = connections_.emplace(connections_.end());
  it->socket = std::move(socket);
  it->watch = loop_.WatchFd(it->socket.get(), EPOLLIN, [this, it](uint32_t) { OnReady(it); });
  it->bound = loop_.After(kTimeBound, [this, it] { connections_.erase(it); });
}

// ---- one connection ---------------------------------------------------------

void MetricsServer::OnReady(Connections::iterator it) {
  Connection& connection = *it;
  if (connection.body == nullptr || connection.sent_all) {
    if (!Read(connection)) {
      connections_.erase(it);
      return;
    }
  }
  if (connection.body != nullptr && !connection.sent_all && !Send(connection)) {
    connections_.erase(it);
  }
}

bool MetricsServer::Read(Connection& connection) {
  char buffer[kHttpRequestBytesMax];
  const ssize_t n = recv(connection.socket.get(), buffer, sizeof(buffer), 0);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) return false;
  if (connection.sent_all) return true;
  connection.request.append(buffer, static_cast<size_t>(n));
  HttpRequest request;
  switch (ParseHttpRequest(connection.request, request)) {
    case HttpRequest::Parse::kIncomplete:
      return true;
    case HttpRequest::Parse::kComplete:
      Answer(connection, request);
      break;
    case HttpRequest::Parse::kBad:
      AnswerError(connection, "400 Bad Request");
      break;
    case HttpRequest::Parse::kTooLarge:
      AnswerError(connection, "431 Request Header Fields Too Large");
      break;
  }
  connection.request.clear();
  connection.request.shrink_to_fit();
  return true;
}

void MetricsServer::Answer(Connection& connection, const HttpRequest& request) {
  if (request.method != "GET" && request.method != "HEAD") {
    return AnswerError(connection, "405 Method Not Allowed");
  }
  if (request.path != kMetricsPath) return AnswerError(connection, "404 Not Found");
  connection.body = Text();
  connection.header = HttpHeader("200 OK", kTextType, connection.body->size());
  if (request.method == "HEAD") connection.body = std::make_shared<std::string>();
}

void MetricsServer::AnswerError(Connection& connection, absl::string_view status) {
  connection.body = std::make_shared<std::string>(
      absl::StrCat(status, "; what there is: GET ", kMetricsPath, "\n"));
  connection.header = HttpHeader(status, "text/plain", connection.body->size());
}

bool MetricsServer::Send(Connection& connection) {
  const std::string& header = connection.header;
  const std::string& body = *connection.body;
  while (connection.sent < header.size() + body.size()) {
    const size_t of_header = std::min(connection.sent, header.size());
    const size_t of_body = connection.sent - of_header;
    iovec parts[2] = {{const_cast<char*>(header.data()) + of_header, header.size() - of_header},
                      {const_cast<char*>(body.data()) + of_body, body.size() - of_body}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    const ssize_t n = sendmsg(connection.socket.get(), &message, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return false;
      connection.watch.SetEvents(EPOLLOUT);
      return true;
    }
    connection.sent += static_cast<size_t>(n);
  }
  // To close with data unread would reset the connection, and the end of the
  // answer with it: first the client closes, or its time is over.
  connection.sent_all = true;
  connection.body = nullptr;
  shutdown(connection.socket.get(), SHUT_WR);
  connection.watch.SetEvents(EPOLLIN);
  return true;
}

std::shared_ptr<const std::string> MetricsServer::Text() {
  const Instant begin = loop_.clock().Now();
  if (text_ == nullptr || begin >= text_good_until_) {
    text_ = std::make_shared<const std::string>(render_());
    const Instant end = loop_.clock().Now();
    text_good_until_ = end + kRenderQuiet * (end - begin);
  }
  return text_;
}

}  // namespace im::orchestrator
