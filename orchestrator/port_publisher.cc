#include "orchestrator/port_publisher.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status.h"

namespace im::orchestrator {
namespace {

// After the process or the machine ran out of descriptors.
constexpr Duration kRetryInterval = std::chrono::seconds(1);

absl::StatusOr<FileDescriptor> Listen(const Endpoint& at) {
  const auto attempt = [&] { return absl::StrCat("ports: listen on ", at.ToString()); };
  sockaddr_storage address{};
  const socklen_t size = at.ToSockaddr(address);
  FileDescriptor fd(
      socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd.valid()) return ErrnoStatus(attempt());
  const int on = 1;
  // An imd that is started anew need not wait for TIME_WAIT.
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address.ss_family == AF_INET6)
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0 ||
      ::listen(fd.get(), SOMAXCONN) != 0) {
    if (errno == EADDRINUSE)
      return absl::AlreadyExistsError(
          absl::StrCat("ports: ", at.ToString(), " is in use by another program"));
    return ErrnoStatus(attempt());
  }
  return fd;
}

Endpoint BoundEndpoint(const FileDescriptor& fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return Endpoint::FromSockaddr(address);
}

}  // namespace

absl::StatusOr<std::unique_ptr<PortPublisher>> PortPublisher::Open(
    EventLoop& loop, netstack::Stack& stack, const Endpoint& listen, const Endpoint& target,
    Calls calls) {
  IM_ASSIGN_OR_RETURN(FileDescriptor fd, Listen(listen));
  const Endpoint local = BoundEndpoint(fd);
  return std::unique_ptr<PortPublisher>(
      new PortPublisher(loop, stack, std::move(fd), local, target, std::move(calls)));
}

PortPublisher::PortPublisher(EventLoop& loop, netstack::Stack& stack, FileDescriptor listener,
                             const Endpoint& local, const Endpoint& target, Calls calls)
    : loop_(loop),
      stack_(stack),
      listener_(std::move(listener)),
      local_(local),
      target_(target),
      calls_(std::move(calls)) {
  watch_ = loop_.WatchFd(listener_.get(), EPOLLIN, [this](uint32_t) { OnClients(); });
}

PortPublisher::~PortPublisher() = default;

void PortPublisher::OnClients() {
  for (;;) {
    if (splices_.size() >= kPublishedConnectionsMax) {
      Pause();
      return;
    }
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    FileDescriptor client(accept4(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size,
                                  SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!client.valid()) {
      // The client is gone already; or errors of the network that Linux hands
      // out here (accept(2)): the next one may be better.
      if (errno == ECONNABORTED || errno == EINTR || errno == EPROTO) continue;
      if (errno != EAGAIN) {
        const absl::Status status =
            ErrnoStatus(absl::StrCat("ports: accept on ", local_.ToString()));
        IM_LOG(kWarning, status.ToString());
        Pause();
        retry_ = loop_.After(kRetryInterval, [this] { Resume(); });
      }
      return;
    }
    Serve(std::move(client), Endpoint::FromSockaddr(address));
  }
}

void PortPublisher::Serve(FileDescriptor client, const Endpoint& from) {
  if (calls_.on_connect) calls_.on_connect(from);
  auto splice = std::make_unique<Splice>(
      loop_, std::move(client), [this, from](Splice* self, const absl::Status& status) {
        const auto dying = splices_.extract(self);
        Resume();
        if (!status.ok() && calls_.on_failure)
          calls_.on_failure(Annotate(status, absl::StrCat(from.ToString(), " to ", target_.ToString())));
      });
  Splice* const started = splice.get();
  splices_.emplace(started, std::move(splice));
  started->Start(stack_, target_, calls_.otherwise);
}

void PortPublisher::Pause() { watch_.SetEvents(0); }

void PortPublisher::Resume() {
  retry_.Reset();
  if (splices_.size() < kPublishedConnectionsMax) watch_.SetEvents(EPOLLIN);
}

}  // namespace im::orchestrator
