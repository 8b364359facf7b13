#include "orchestrator/agent/intercept/udp_socket.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "netstack/net_error.h"

namespace im::agent {
namespace {

// sendmmsg and recvmmsg take no more at once (UIO_MAXIOV).
constexpr uint32_t kMessagesMax = 1024;

constexpr int kKnownFlags = MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC | MSG_NOSIGNAL | MSG_CONFIRM |
                            MSG_WAITALL | MSG_CMSG_CLOEXEC | MSG_WAITFORONE | MSG_MORE;

std::array<uint8_t, 65536>& DatagramScratch() {
  static std::array<uint8_t, 65536> scratch;
  return scratch;
}

// Whether nothing is left in our end of a pair, and nothing will come. To be asked
// when a read gave nothing, which is an empty datagram as well: what epoll told
// before may be older than the end. (An empty one right before it is not told apart.)
bool IsDrained(int end) {
  pollfd look = {end, POLLRDHUP, 0};
  if (poll(&look, 1, 0) != 1 || (look.revents & (POLLRDHUP | POLLHUP)) == 0) return false;
  int unread = 0;
  return ioctl(end, SIOCINQ, &unread) != 0 || unread == 0;
}

int FlagsOf(const PendingCall& call) {
  return call.int_arg(call.number() == SYS_recvmsg ? 2 : 3);
}

}  // namespace

UdpSocket::UdpSocket(Context& context, int family, uint64_t inode, FileDescriptor end)
    : ProgramSocket(context, family, SOCK_DGRAM, inode), end_(std::move(end)) {
  watch_ = context_.loop().WatchFd(end_.get(), EPOLLIN | EPOLLRDHUP | EPOLLET,
                                   [this](uint32_t events) { OnEvents(events); });
}

// ---- names ----

UdpSocket::~UdpSocket() {
  if (local_.has_value()) context_.udp().Leave(local_->port, *this);
}

int UdpSocket::Open(const Endpoint& local) {
  if (const int error = Claim(local); error != 0) return error;
  const bool outside = OutsideOf(*local_).has_value();
  if (const int error = context_.udp().Join(local_->port, outside, *this); error != 0) {
    ReleasePort();
    local_.reset();
    return error;
  }
  if (outside) context_.OnOpened(SOCK_DGRAM, local_->port);
  return 0;
}

void UdpSocket::OnUnreachable(const Endpoint& remote, const absl::Status& error) {
  if (remote_ != remote) return;
  error_ = netstack::NetErrno(error);
  if (waiting_.empty()) return;
  waiting_.front().call.Fail(std::exchange(error_, 0));
  waiting_.pop_front();
}

void UdpSocket::Bind(PendingCall call, const Endpoint& local) {
  int error = local_.has_value() ? EINVAL : CheckLocalAddress(local.address);
  if (error == 0) error = Open(local);
  error == 0 ? call.Return(0) : call.Fail(error);
}

void UdpSocket::Connect(PendingCall call, int, const ProgramAddress& to) {
  if (to.unspecified) {
    remote_.reset();
    call.Return(0);
    return;
  }
  Endpoint remote = to.endpoint;
  if (remote.address.is_unspecified()) remote.address = LoopbackAddress(remote.address.is_v4());
  int error = 0;
  const bool v4 = remote.address.is_v4();
  const bool resolver = context_.ResolverFor(remote).has_value();
  if (remote.address.is_multicast() || (v4 && family() == AF_INET6 && options_.v6_only()) ||
      (!resolver && !remote.address.is_loopback() && !context_.own_address(v4).has_value()))
    error = ENETUNREACH;
  if (error == 0 && !local_.has_value()) error = Open({AnyAddress(family()), 0});
  if (error != 0) {
    call.Fail(error);
    return;
  }
  // From here on getsockname shows what the datagrams come from.
  if (local_->address.is_unspecified())
    local_->address = remote.address.is_loopback()
                          ? LoopbackAddress(v4)
                          : context_.own_address(v4).value_or(local_->address);
  remote_ = remote;
  call.Return(0);
}

void UdpSocket::GetPeer(PendingCall call) {
  if (!remote_.has_value()) {
    call.Fail(ENOTCONN);
    return;
  }
  const int error = WriteAddress(call, call.arg(1), call.arg(2), *remote_, family());
  error == 0 ? call.Return(0) : call.Fail(error);
}

void UdpSocket::Shutdown(PendingCall call) {
  if (!remote_.has_value()) {
    call.Fail(ENOTCONN);
    return;
  }
  shut_ |= call.int_arg(1) == SHUT_WR || call.int_arg(1) == SHUT_RDWR;
  call.Continue();
}

std::optional<std::vector<uint8_t>> UdpSocket::StateOption(int level, int name) {
  if (level != SOL_SOCKET || (name != SO_ERROR && name != SO_ACCEPTCONN)) return std::nullopt;
  const int value = name == SO_ERROR ? std::exchange(error_, 0) : 0;
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  return std::vector<uint8_t>(bytes, bytes + sizeof(value));
}

const Endpoint& UdpSocket::Named(const Endpoint& source) const {
  return resolver_ == source ? *asked_ : source;
}

int UdpSocket::Fit(const Endpoint& from, const Endpoint& to) const {
  if (!Takes(to) || (remote_.has_value() && Named(from) != *remote_)) return 0;
  return 1 + (local_->address == to.address ? 1 : 0) + (remote_.has_value() ? 2 : 0);
}

bool UdpSocket::Takes(const Endpoint& to) const {
  if (!local_.has_value() || local_->port != to.port) return false;
  if (local_->address == to.address) return true;
  if (!local_->address.is_unspecified()) return false;
  const bool v4 = to.address.is_v4();
  return local_->address.is_v4() ? v4 : !v4 || !options_.v6_only();
}

// ---- program → network ----

void UdpSocket::OnEvents(uint32_t events) {
  for (;;) {
    auto& scratch = DatagramScratch();
    const ssize_t n = recv(end_.get(), scratch.data(), scratch.size(), MSG_DONTWAIT);
    if (n < 0 || (n == 0 && IsDrained(end_.get()))) break;
    if (!remote_.has_value()) continue;
    const int error = SendTo(*remote_, std::span(scratch).first(static_cast<size_t>(n)));
    if (error != 0) error_ = error;
  }
  if ((events & EPOLLHUP) != 0) context_.Remove(*this);
}

int UdpSocket::SendTo(const Endpoint& to, std::span<const uint8_t> payload) {
  if (to.address.is_multicast()) return ENETUNREACH;
  if (to.port == 0) return EINVAL;
  const auto outside = [&](const IpAddress& address) {
    return local_->address.is_loopback() ? nullptr
                                         : context_.udp().EndpointOf(local_->port, address.is_v4());
  };
  if (const auto resolver = context_.ResolverFor(to)) {
    if (netstack::UdpEndpoint* endpoint = outside(resolver->address)) {
      asked_ = to;
      resolver_ = resolver;
      return netstack::NetErrno(endpoint->SendTo(*resolver, payload));
    }
  }
  if (!IsInside(to.address)) {
    netstack::UdpEndpoint* endpoint = outside(to.address);
    if (endpoint == nullptr) return local_->address.is_loopback() ? EINVAL : ENETUNREACH;
    const int error = netstack::NetErrno(endpoint->SendTo(to, payload));
    return error == EHOSTUNREACH ? ENETUNREACH : error;
  }
  Endpoint target = to;
  if (to.address.is_unspecified()) target.address = LoopbackAddress(to.address.is_v4());
  Endpoint source = *local_;
  if (source.address.is_unspecified())
    source.address = target.address.is_loopback() ? LoopbackAddress(target.address.is_v4())
                                                  : target.address;
  UdpTable::Member* other = context_.udp().Find(source, target);
  if (other == nullptr) return remote_ == to ? ECONNREFUSED : 0;
  other->OnDatagram(source, payload);
  return 0;
}

ssize_t UdpSocket::SendOne(const PendingCall& call, const ProgramMessage& message) {
  std::optional<Endpoint> to = remote_;
  if (message.name != 0) {
    ProgramAddress address;
    if (const int error = ReadAddress(call, message.name, message.name_size, family(), address);
        error != 0)
      return -error;
    to = address.endpoint;
  }
  if (!to.has_value()) return -EDESTADDRREQ;
  std::vector<uint8_t> payload;
  if (const int error = message.Gather(call, payload); error != 0) return -error;
  if (!local_.has_value())
    if (const int error = Open({AnyAddress(family()), 0}); error != 0) return -error;
  if (const int error = SendTo(*to, payload); error != 0) return -error;
  return static_cast<ssize_t>(payload.size());
}

void UdpSocket::Send(PendingCall call, int) {
  OnEvents(0);  // what was written before leaves before
  if (error_ != 0) {
    call.Fail(std::exchange(error_, 0));
    return;
  }
  if (shut_) {
    call.Fail(EPIPE);
    return;
  }
  ProgramMessage message;
  if (call.number() == SYS_sendto) {
    message = ProgramMessage::OfBuffer(call.arg(1), call.arg(2));
    message.name = call.arg(4);
    message.name_size = call.arg(5);
    Finish(call, SendOne(call, message));
    return;
  }
  const bool many = call.number() == SYS_sendmmsg;
  const uint32_t count = many ? std::min(static_cast<uint32_t>(call.arg(2)), kMessagesMax) : 1;
  ssize_t result = 0;
  uint32_t done = 0;
  for (; done < count; ++done) {
    const uint64_t at = call.arg(1) + done * kManyMessagesStride;
    const int error = message.ReadHeader(call, at);
    result = error != 0 ? -error : SendOne(call, message);
    if (result < 0) break;
    if (!many) continue;
    const auto size = static_cast<uint32_t>(result);
    if (call.Write(at + kManyMessagesLength, &size, sizeof(size)) != 0) break;
  }
  Finish(call, many && done > 0 ? static_cast<ssize_t>(done) : result);
}

// ---- network → program ----

void UdpSocket::Flush() { OnEvents(0); }

void UdpSocket::OnDatagram(const Endpoint& source, std::span<const uint8_t> payload) {
  const Endpoint from = Named(source);
  if (GiveToWaiting(from, payload)) return;
  if (sources_.size() >= kSourcesMax) {
    int unread = 0;
    ioctl(end_.get(), SIOCOUTQ, &unread);
    if (unread == 0) sources_.clear();
    if (sources_.size() >= kSourcesMax) sources_.pop_front();
  }
  // What does not fit is lost, as with a full socket.
  const ssize_t n =
      send(end_.get(), payload.data(), payload.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n >= 0) sources_.push_back({from, payload.size()});
}

bool UdpSocket::GiveToWaiting(const Endpoint& from, std::span<const uint8_t> payload) {
  while (!waiting_.empty()) {
    Waiting waiting = std::move(waiting_.front());
    waiting_.pop_front();
    if (!waiting.call.Alive()) continue;
    const int flags = FlagsOf(waiting.call);
    const bool many = waiting.call.number() == SYS_recvmmsg;
    ssize_t result = Hand(waiting.call, waiting.message, family(), from, payload, flags);
    if (many && result >= 0) {
      const auto size = static_cast<uint32_t>(result);
      waiting.call.Write(waiting.message.header + kManyMessagesLength, &size, sizeof(size));
      result = 1;
    }
    Finish(waiting.call, result);
    return result >= 0 && (flags & MSG_PEEK) == 0;
  }
  return false;
}

ssize_t UdpSocket::Hand(const PendingCall& call, const ProgramMessage& message, int family,
                        const Endpoint& from, std::span<const uint8_t> payload, int flags) {
  const bool cut = payload.size() > message.size;
  const auto shown = payload.first(std::min(payload.size(), message.size));
  int error = message.Scatter(call, shown);
  if (error == 0) error = message.WriteSource(call, from, family, cut ? MSG_TRUNC : 0);
  if (error != 0) return -error;
  return static_cast<ssize_t>((flags & MSG_TRUNC) != 0 ? payload.size() : shown.size());
}

void UdpSocket::AlignSources(int program_end) {
  int unread = 0;
  if (ioctl(program_end, SIOCINQ, &unread) != 0) return;
  size_t known = 0;
  for (const Source& source : sources_) known += source.size;
  while (!sources_.empty() && known > static_cast<size_t>(unread)) {
    known -= sources_.front().size;
    sources_.pop_front();
  }
}

ssize_t UdpSocket::ReceiveOne(const PendingCall& call, const ProgramMessage& message,
                              int program_end, int flags) {
  AlignSources(program_end);
  auto& scratch = DatagramScratch();
  const ssize_t n = recv(program_end, scratch.data(), scratch.size(),
                         MSG_DONTWAIT | (flags & MSG_PEEK));
  if (n < 0) return -errno;
  const auto size = static_cast<size_t>(n);
  // An empty one that was read already can only be told by the next's size.
  while (sources_.size() > 1 && sources_.front().size != size) sources_.pop_front();
  const Endpoint from = sources_.empty() ? remote_.value_or(Endpoint{}) : sources_.front().from;
  if ((flags & MSG_PEEK) == 0 && !sources_.empty()) sources_.pop_front();
  return Hand(call, message, family(), from, std::span(scratch).first(size), flags);
}

void UdpSocket::Receive(PendingCall call, int program_end) {
  const int number = call.number();
  const int flags = FlagsOf(call);
  if ((flags & ~kKnownFlags) != 0) {
    // MSG_ERRQUEUE has nothing, ever.
    call.Fail((flags & MSG_ERRQUEUE) != 0 ? EAGAIN : EOPNOTSUPP);
    return;
  }
  if (error_ != 0) {
    call.Fail(std::exchange(error_, 0));
    return;
  }
  ProgramMessage message;
  if (number == SYS_recvfrom) {
    message = ProgramMessage::OfBuffer(call.arg(1), call.arg(2));
    message.name = call.arg(4);
    message.name_size_at = call.arg(5);
  } else if (const int error = message.ReadHeader(call, call.arg(1)); error != 0) {
    call.Fail(error);
    return;
  }
  const bool many = number == SYS_recvmmsg;
  ssize_t result = ReceiveOne(call, message, program_end, flags);
  if (result == -EAGAIN && (flags & MSG_DONTWAIT) == 0 && !IsNonBlocking(program_end)) {
    const Duration timeout = options_.receive_timeout();
    const Instant until =
        timeout == Duration::zero() ? kNever : context_.loop().now() + timeout;
    waiting_.push_back({std::move(call), std::move(message), until});
    context_.OnWaiting(*this);
    return;
  }
  if (!many || result < 0) {
    Finish(call, result);
    return;
  }
  // As many more as are there.
  const uint32_t count = std::min(static_cast<uint32_t>(call.arg(2)), kMessagesMax);
  uint32_t done = 0;
  while (result >= 0) {
    const auto size = static_cast<uint32_t>(result);
    call.Write(message.header + kManyMessagesLength, &size, sizeof(size));
    if (++done >= count) break;
    if (message.ReadHeader(call, call.arg(1) + done * kManyMessagesStride) != 0) break;
    result = ReceiveOne(call, message, program_end, flags);
  }
  call.Return(done);
}

void UdpSocket::Finish(PendingCall& call, ssize_t result) {
  result >= 0 ? call.Return(result) : call.Fail(static_cast<int>(-result));
}

bool UdpSocket::LookAtWaiting(Instant now) {
  std::erase_if(waiting_, [&](Waiting& waiting) {
    if (EndIfInterrupted(waiting.call)) return true;
    if (now < waiting.until) return false;
    waiting.call.Fail(EAGAIN);
    return true;
  });
  return !waiting_.empty();
}

}  // namespace im::agent
