#include "orchestrator/http_server.h"

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

constexpr int kBacklog = 16;
// After the process or the machine ran out of descriptors.
constexpr Duration kAcceptRetryInterval = std::chrono::seconds(1);

}  // namespace

HttpServer::HttpServer(EventLoop& loop, std::string what, const Limits& limits, Handler handler)
    : loop_(loop),
      what_(std::move(what)),
      limits_(limits),
      handler_(std::move(handler)),
      self_(std::make_shared<HttpServer*>(this)) {}

HttpServer::~HttpServer() {
  *self_ = nullptr;
  if (socket_directory_.valid()) unlinkat(socket_directory_.get(), socket_path_.c_str(), 0);
}

// ---- listening --------------------------------------------------------------

absl::Status HttpServer::ListenUnix(const std::string& directory, const std::string& name,
                                       std::optional<uid_t> owner) {
  const std::string what = absl::StrCat(what_, " socket ", directory, "/", name);
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

absl::StatusOr<Endpoint> HttpServer::ListenTcp(const Endpoint& at) {
  const std::string what = absl::StrCat(what_, ": listen on ", at.ToString());
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
          absl::StrCat(what_, ": ", at.ToString(), " is in use by another program"));
    }
    return ErrnoStatus(what);
  }
  size = sizeof(address);
  getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size);
  Listen(std::move(socket));
  return Endpoint::FromSockaddr(address);
}

void HttpServer::Listen(FileDescriptor socket) {
  Listener& listener = *listeners_.emplace_back(std::make_unique<Listener>());
  listener.socket = std::move(socket);
  listener.watch =
      loop_.WatchFd(listener.socket.get(), EPOLLIN, [this, &listener](uint32_t) {
        Accept(listener);
      });
}

void HttpServer::Accept(Listener& listener) {
  // One a turn: the loop has better things to do.
  FileDescriptor socket(
      accept4(listener.socket.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket.valid()) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      IM_LOG(kWarning, what_, ": accept: ", strerrordesc_np(errno));
      listener.watch.SetEvents(0);
      listener.retry =
          loop_.After(kAcceptRetryInterval, [&listener] { listener.watch.SetEvents(EPOLLIN); });
    }
    return;
  }
  MakeRoom();
  const uint64_t id = next_id_++;
  Connection& connection = connections_[id];
  connection.socket = std::move(socket);
  connection.watch = loop_.WatchFd(connection.socket.get(), EPOLLIN,
                                   [this, id](uint32_t events) { OnReady(id, events); });
  connection.bound = loop_.After(limits_.time_bound, [this, id] { Erase(id); });
}

void HttpServer::MakeRoom() {
  if (connections() < limits_.connections_max) return;
  for (const auto& [id, connection] : connections_) {
    if (connection.stream != nullptr) continue;
    connections_.erase(id);
    return;
  }
}

void HttpServer::Erase(uint64_t id) {
  const auto it = connections_.find(id);
  if (it == connections_.end()) return;
  if (it->second.stream != nullptr) --streams_;
  // A stream may ask for things while it goes.
  const std::unique_ptr<HttpStream> stream = std::move(it->second.stream);
  connections_.erase(it);
}

// ---- one connection ---------------------------------------------------------

void HttpServer::OnReady(uint64_t id, uint32_t events) {
  Connection& connection = connections_.at(id);
  bool goes_on = true;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) goes_on = Read(id, connection);
  // An answer that came at once.
  if (goes_on && connection.answered && !connection.sent_all) {
    goes_on = connection.stream != nullptr ? SendStream(id, connection) : Send(connection);
  }
  if (!goes_on) Erase(id);
}

bool HttpServer::Read(uint64_t id, Connection& connection) {
  char buffer[kHttpRequestBytesMax];
  const ssize_t n = recv(connection.socket.get(), buffer, sizeof(buffer), 0);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) return false;
  if (connection.asked) return true;
  connection.request.append(buffer, static_cast<size_t>(n));
  Ask(id, connection);
  return true;
}

void HttpServer::Ask(uint64_t id, Connection& connection) {
  HttpRequest request;
  const auto parse = ParseHttpRequest(connection.request, request);
  if (parse == HttpRequest::Parse::kIncomplete) return;
  connection.asked = true;
  connection.request.clear();
  connection.request.shrink_to_fit();
  if (parse == HttpRequest::Parse::kBad) return AnswerError(id, connection, "400 Bad Request");
  if (parse == HttpRequest::Parse::kTooLarge) {
    return AnswerError(id, connection, "431 Request Header Fields Too Large");
  }
  const auto length = request.Header("content-length");
  const bool body = std::any_of(
      request.headers.begin(), request.headers.end(), [&](const auto& header) {
        return header.first == "transfer-encoding" ||
               (header.first == "content-length" && length != "0");
      });
  if (body) return AnswerError(id, connection, "413 Content Too Large");
  connection.head = request.method == "HEAD";
  handler_(request, [self = self_, id](HttpResponse response) {
    if (*self == nullptr) return;
    const auto it = (*self)->connections_.find(id);
    if (it == (*self)->connections_.end() || it->second.answered) return;
    (*self)->Answer(id, it->second, std::move(response));
  });
}

void HttpServer::Answer(uint64_t id, Connection& connection, HttpResponse response) {
  connection.answered = true;
  if (response.stream != nullptr && streams_ >= limits_.streams_max) {
    response.stream = nullptr;
    response.status = "503 Service Unavailable";
    response.content_type = "text/plain; charset=utf-8";
    response.body = std::make_shared<std::string>(
        absl::StrCat("there are ", limits_.streams_max, " readers already\n"));
  }
  if (response.stream != nullptr) {
    connection.header =
        HttpHeader(response.status, response.content_type, std::nullopt, response.headers);
    if (!connection.head) {
      connection.stream = std::move(response.stream);
      ++streams_;
      BoundStall(id, connection);
    }
  } else {
    connection.body = response.body != nullptr ? std::move(response.body)
                                               : std::make_shared<const std::string>();
    connection.header = HttpHeader(response.status, response.content_type,
                                   connection.body->size(), response.headers);
  }
  if (connection.head || connection.body == nullptr) {
    connection.body = std::make_shared<const std::string>();
  }
  // Whoever answers may be in the middle of something: it is sent next turn.
  connection.watch.SetEvents(EPOLLIN | EPOLLOUT);
}

void HttpServer::AnswerError(uint64_t id, Connection& connection, absl::string_view status) {
  HttpResponse response;
  response.status = std::string(status);
  response.body = std::make_shared<std::string>(absl::StrCat(status, "\n"));
  Answer(id, connection, std::move(response));
}

bool HttpServer::SendBytes(Connection& connection, bool& done) {
  const std::string& header = connection.header;
  const std::string& body = *connection.body;
  done = false;
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
      connection.watch.SetEvents(EPOLLIN | EPOLLOUT);
      return true;
    }
    connection.sent += static_cast<size_t>(n);
  }
  done = true;
  return true;
}

bool HttpServer::Send(Connection& connection) {
  bool done = false;
  if (!SendBytes(connection, done)) return false;
  if (!done) return true;
  // To close with data unread would reset the connection, and the end of the
  // answer with it: first the client closes, or its time is over.
  connection.sent_all = true;
  connection.body = nullptr;
  shutdown(connection.socket.get(), SHUT_WR);
  connection.watch.SetEvents(EPOLLIN);
  return true;
}

// ---- streams ----------------------------------------------------------------

bool HttpServer::SendStream(uint64_t id, Connection& connection) {
  const size_t sent_before = connection.sent;
  bool done = false;
  if (!SendBytes(connection, done)) return false;
  if (!done) {
    if (connection.sent != sent_before) BoundStall(id, connection);
    return true;
  }
  connection.sent = 0;
  connection.header = connection.stream->Next();
  if (connection.header.empty()) {
    connection.bound.Reset();
    connection.watch.SetEvents(EPOLLIN);
  } else {
    BoundStall(id, connection);
    connection.watch.SetEvents(EPOLLIN | EPOLLOUT);
  }
  return true;
}

void HttpServer::BoundStall(uint64_t id, Connection& connection) {
  connection.bound = loop_.After(limits_.stall_bound, [this, id] { Erase(id); });
}

void HttpServer::PollStreams() {
  for (auto& [id, connection] : connections_) {
    if (connection.stream == nullptr || !connection.header.empty()) continue;
    connection.header = connection.stream->Next();
    if (connection.header.empty()) continue;
    BoundStall(id, connection);
    connection.watch.SetEvents(EPOLLIN | EPOLLOUT);
  }
}

}  // namespace im::orchestrator
