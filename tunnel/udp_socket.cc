#include "tunnel/udp_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "tunnel/udp_offload.h"

namespace im::tunnel {
namespace {

// The largest UDP payload, rounded up; also the largest train.
constexpr size_t kReceiveBytes = 64 << 10;

}  // namespace

absl::StatusOr<std::unique_ptr<UdpSocket>> UdpSocket::Open(const Options& options,
                                                           DropCounters& drops) {
  const IpAddress& address = options.listen.address;
  if (!address.is_unspecified()) {
    return OpenFamily(options, address.is_v4() ? AF_INET : AF_INET6, drops);
  }
  absl::StatusOr<std::unique_ptr<UdpSocket>> both = OpenFamily(options, AF_INET6, drops);
  if (both.ok() || absl::IsAlreadyExists(both.status())) return both;
  return OpenFamily(options, AF_INET, drops);  // a kernel without IPv6
}

absl::StatusOr<std::unique_ptr<UdpSocket>> UdpSocket::OpenFamily(const Options& options,
                                                                 int family,
                                                                 DropCounters& drops) {
  const std::string attempt = absl::StrCat("bind UDP ", options.listen.ToString());
  FileDescriptor fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoStatus(attempt);
  const bool v6 = family == AF_INET6;
  sockaddr_storage address = {};
  socklen_t size;
  if (options.listen.address.is_unspecified()) {
    const int off = 0;
    if (v6 && setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) != 0) {
      return ErrnoStatus(attempt);
    }
    const IpAddress any = v6 ? IpAddress() : IpAddress::V4(0);
    size = Endpoint{any, options.listen.port}.ToSockaddr(address);
  } else {
    size = options.listen.ToSockaddr(address);
  }
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) {
    if (errno == EADDRINUSE) return absl::AlreadyExistsError(absl::StrCat(attempt, ": in use"));
    return ErrnoStatus(attempt);
  }
  size = sizeof(address);
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return ErrnoStatus(attempt);
  }
  std::unique_ptr<UdpSocket> udp(new UdpSocket(std::move(fd), v6, drops));
  udp->local_ = EndpointFromKernel(address);
  udp->SetOptions(options);
  if (options.fwmark != 0) IM_RETURN_IF_ERROR(udp->SetFwmark(options.fwmark));
  auto lanes = HandshakeLanes::Join(udp->fd(), options.salt);
  if (lanes.ok()) {
    udp->lanes_ = *std::move(lanes);
  } else {
    IM_LOG(kInfo, lanes.status().message());
  }
  return udp;
}

UdpSocket::UdpSocket(FileDescriptor fd, bool v6, DropCounters& drops)
    : fd_(std::move(fd)),
      v6_(v6),
      writer_(*this, v6, drops),
      receiver_(kMessagesPerReceive, kReceiveBytes) {}

UdpSocket::~UdpSocket() = default;

void UdpSocket::SetOptions(const Options& options) {
  if (UdpOffload::GroIsThinkable(Tuning::ByEnvironment())) {
    const int on = 1;
    // Missing in old kernels: then we do without.
    static_cast<void>(setsockopt(fd(), SOL_UDP, UDP_GRO, &on, sizeof(on)));
  }
  // Routers may make fragments of IPv4: full packets get over a path that became
  // narrow before anybody knew, and over one whose ICMP is filtered. What the
  // kernel is told of the path by ICMP, which anybody can send, is not asked.
  // For IPv6, which has no such routers, it is.
  const int may_be_fragmented = IP_PMTUDISC_OMIT;
  static_cast<void>(setsockopt(fd(), IPPROTO_IP, IP_MTU_DISCOVER, &may_be_fragmented,
                               sizeof(may_be_fragmented)));
  AskForMessageDetails(fd(), v6_);
  SetBuffer(SO_RCVBUF, SO_RCVBUFFORCE, options.buffer_bytes, "receive");
  SetBuffer(SO_SNDBUF, SO_SNDBUFFORCE, options.buffer_bytes, "send");
}

bool UdpSocket::Receive(DatagramBatch& batch) {
  const bool received = receiver_.Receive(fd(), batch);
  if (!gro_tested_ && receiver_.saw_train()) TestGro();
  return received;
}

void UdpSocket::SetBuffer(int option, int force_option, int bytes, const char* name) {
  if (setsockopt(fd(), SOL_SOCKET, force_option, &bytes, sizeof(bytes)) == 0) return;
  static_cast<void>(setsockopt(fd(), SOL_SOCKET, option, &bytes, sizeof(bytes)));
  int got = 0;
  socklen_t size = sizeof(got);
  if (getsockopt(fd(), SOL_SOCKET, option, &got, &size) != 0) return;
  got /= 2;  // the kernel counts its own bookkeeping too (socket(7))
  if (got < bytes) {
    IM_LOG(kWarning, name, " buffer of the UDP socket is ", got, " bytes instead of ", bytes,
           ": raise net.core.", option == SO_RCVBUF ? "rmem_max" : "wmem_max",
           " or give CAP_NET_ADMIN");
  }
}

absl::Status UdpSocket::SetFwmark(uint32_t fwmark) {
  if (setsockopt(fd(), SOL_SOCKET, SO_MARK, &fwmark, sizeof(fwmark)) == 0) {
    return absl::OkStatus();
  }
  return ErrnoStatus(absl::StrCat("set fwmark ", fwmark));
}

// What was mangled already fails its authentication.
void UdpSocket::TestGro() {
  gro_tested_ = true;
  if (UdpOffload::OfProcess().gro) return;
  const int off = 0;
  static_cast<void>(setsockopt(fd(), SOL_UDP, UDP_GRO, &off, sizeof(off)));
}

bool UdpSocket::CanSendTrains() { return UdpOffload::OfProcess().gso; }

// The option is the socket's, since IPv4 has none of a message. Not what the
// kernel believes of the path (ICMP), but the link alone is asked.
int UdpSocket::SendUnfragmented(mmsghdr* message) {
  const auto set = [this](int level, int option, int value) {
    int before = 0;
    socklen_t size = sizeof(before);
    static_cast<void>(getsockopt(fd(), level, option, &before, &size));
    static_cast<void>(setsockopt(fd(), level, option, &value, sizeof(value)));
    return before;
  };
  const int v4_before = set(IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  const int v6_before = v6_ ? set(IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE) : 0;
  const int sent = Send(message, 1);
  const int error = errno;
  set(IPPROTO_IP, IP_MTU_DISCOVER, v4_before);
  if (v6_) set(IPPROTO_IPV6, IPV6_MTU_DISCOVER, v6_before);
  errno = error;
  return sent;
}

int UdpSocket::Send(mmsghdr* messages, unsigned count) {
  return sendmmsg(fd(), messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace im::tunnel
