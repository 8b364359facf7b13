#include "tunnel/udp_socket.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "tunnel/message.h"
#include "tunnel/udp_offload.h"

namespace im::tunnel {
namespace {

// The largest UDP payload, rounded up; also the largest train.
constexpr size_t kReceiveBytes = 64 << 10;
constexpr size_t kControlBytes = CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(in6_pktinfo)) +
                                 CMSG_SPACE(sizeof(int));
// Errors about earlier sends that one Receive steps over.
constexpr int kPendingErrorsMax = 8;

void SetFlag(int fd, int level, int option) {
  const int on = 1;
  // Missing in old kernels: then we do without.
  static_cast<void>(setsockopt(fd, level, option, &on, sizeof(on)));
}

template <typename Value>
Value LoadAs(const unsigned char* data) {
  Value value;
  std::memcpy(&value, data, sizeof(value));
  return value;
}

IpAddress FromIn6(const in6_addr& address) {
  return IpAddress::FromBytes({address.s6_addr, sizeof(address.s6_addr)});
}

Endpoint PeerOf(const sockaddr_storage& address) {
  if (address.ss_family != AF_INET6) return Endpoint::FromSockaddr(address);
  sockaddr_in6 v6;
  std::memcpy(&v6, &address, sizeof(v6));
  return {FromIn6(v6.sin6_addr), ntohs(v6.sin6_port)};
}

// What the control messages say about the run.
void ReadControl(msghdr& header, DatagramRun& run) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(&header, c)) {
    const unsigned char* data = CMSG_DATA(c);
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
      const int size = LoadAs<int>(data);
      if (size > 0 && static_cast<size_t>(size) < run.bytes.size()) {
        run.segment_size = static_cast<uint32_t>(size);
      }
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      run.local = FromIn6(LoadAs<in6_pktinfo>(data).ipi6_addr);
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      run.local = IpAddress::V4(ntohl(LoadAs<in_pktinfo>(data).ipi_addr.s_addr));
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
      run.ecn = static_cast<uint8_t>(LoadAs<int>(data) & 3);
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
      run.ecn = static_cast<uint8_t>(data[0] & 3);
    }
  }
}

}  // namespace

struct UdpSocket::ReceiveBuffers {
  std::array<mmsghdr, kMessagesPerReceive> headers;
  std::array<iovec, kMessagesPerReceive> parts;
  std::array<sockaddr_storage, kMessagesPerReceive> addresses;
  alignas(cmsghdr) char control[kMessagesPerReceive][kControlBytes];
  alignas(64) uint8_t bytes[kMessagesPerReceive][kReceiveBytes];
};

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
  udp->local_ = PeerOf(address);
  udp->SetOptions(options);
  if (options.fwmark != 0) IM_RETURN_IF_ERROR(udp->SetFwmark(options.fwmark));
  if (const absl::Status status = udp->SeparateHandshakes(); !status.ok()) {
    IM_LOG(kInfo, status.message());
    udp->handshake_fd_.Reset();
  }
  return udp;
}

UdpSocket::UdpSocket(FileDescriptor fd, bool v6, DropCounters& drops)
    : fd_(std::move(fd)),
      v6_(v6),
      writer_(*this, v6, drops),
      // Not value-initialized: pages that are never used take no memory.
      buffers_(new ReceiveBuffers) {}

UdpSocket::~UdpSocket() = default;

// The first socket was bound alone, so that a port that is taken is noticed.
// From then on it may be shared, and the second joins it.
absl::Status UdpSocket::SeparateHandshakes() {
  const std::string attempt = "receive handshakes on a socket of their own";
  handshake_fd_ = FileDescriptor(
      socket(v6_ ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!handshake_fd_.valid()) return ErrnoStatus(attempt);
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  int only_v6 = 0;
  socklen_t only_v6_size = sizeof(only_v6);
  if (getsockname(fd(), reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      (v6_ && (getsockopt(fd(), IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, &only_v6_size) != 0 ||
               setsockopt(handshake_fd(), IPPROTO_IPV6, IPV6_V6ONLY, &only_v6,
                          sizeof(only_v6)) != 0))) {
    return ErrnoStatus(attempt);
  }
  SetReceiveOptions(handshake_fd());
  static_cast<void>(setsockopt(handshake_fd(), SOL_SOCKET, SO_RCVBUF, &kHandshakeBufferBytes,
                               sizeof(kHandshakeBufferBytes)));
  for (const int one : {fd(), handshake_fd()}) SetFlag(one, SOL_SOCKET, SO_REUSEPORT);
  if (bind(handshake_fd(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    return ErrnoStatus(attempt);
  }
  // The number in the group: 0 is the first socket, 1 the second.
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(MessageType::kTransport), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 1),
  };
  const sock_fprog whole = {.len = std::size(program), .filter = program};
  if (setsockopt(fd(), SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &whole, sizeof(whole)) != 0) {
    return ErrnoStatus(attempt);
  }
  return absl::OkStatus();
}

void UdpSocket::SetReceiveOptions(int fd) {
  if (UdpOffload::GroIsThinkable(Tuning::ByEnvironment())) SetFlag(fd, SOL_UDP, UDP_GRO);
  SetFlag(fd, IPPROTO_IP, IP_RECVTOS);  // also of IPv4 packets to an IPv6 socket
  if (v6_) {
    SetFlag(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO);
    SetFlag(fd, IPPROTO_IPV6, IPV6_RECVTCLASS);
  } else {
    SetFlag(fd, IPPROTO_IP, IP_PKTINFO);
  }
}

void UdpSocket::SetOptions(const Options& options) {
  SetReceiveOptions(fd());
  SetBuffer(SO_RCVBUF, SO_RCVBUFFORCE, options.buffer_bytes, "receive");
  SetBuffer(SO_SNDBUF, SO_SNDBUFFORCE, options.buffer_bytes, "send");
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

bool UdpSocket::ReceiveFrom(int fd, DatagramBatch& batch) {
  ReceiveBuffers& buffers = *buffers_;
  for (size_t i = 0; i < kMessagesPerReceive; ++i) {
    buffers.parts[i] = {buffers.bytes[i], kReceiveBytes};
    msghdr& header = buffers.headers[i].msg_hdr;
    header.msg_name = &buffers.addresses[i];
    header.msg_namelen = sizeof(buffers.addresses[i]);
    header.msg_iov = &buffers.parts[i];
    header.msg_iovlen = 1;
    header.msg_control = buffers.control[i];
    header.msg_controllen = kControlBytes;
    header.msg_flags = 0;
  }
  int count = -1;
  for (int tries = 0; count < 0 && tries <= kPendingErrorsMax; ++tries) {
    count = recvmmsg(fd, buffers.headers.data(), kMessagesPerReceive, MSG_DONTWAIT, nullptr);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
  }
  for (int i = 0; i < count; ++i) {
    const size_t size = buffers.headers[i].msg_len;
    if (size == 0) continue;
    received_bytes_ += size;
    DatagramRun run;
    run.peer = PeerOf(buffers.addresses[i]);
    run.bytes = {buffers.bytes[i], size};
    run.segment_size = static_cast<uint32_t>(size);
    ReadControl(buffers.headers[i].msg_hdr, run);
    if (!gro_tested_ && run.segment_size < size) TestGro();
    batch.Add(run);
  }
  return count > 0;
}

// What was mangled already fails its authentication.
void UdpSocket::TestGro() {
  gro_tested_ = true;
  if (UdpOffload::OfProcess().gro) return;
  const int off = 0;
  for (const int one : {fd(), handshake_fd()}) {
    static_cast<void>(setsockopt(one, SOL_UDP, UDP_GRO, &off, sizeof(off)));
  }
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
