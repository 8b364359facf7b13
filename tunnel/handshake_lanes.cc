#include "tunnel/handshake_lanes.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <bit>
#include <iterator>

#include "tunnel/message.h"

namespace im::tunnel {
namespace {

// No message that belongs here is longer; what is, is malformed when cut, too.
constexpr size_t kMessageBytes = 192;
static_assert(kMessageBytes > sizeof(InitiationMessage));

void SetFlag(int fd, int level, int option) {
  const int on = 1;
  // Missing in old kernels: then we do without.
  static_cast<void>(setsockopt(fd, level, option, &on, sizeof(on)));
}

}  // namespace

void AskForMessageDetails(int fd, bool v6) {
  SetFlag(fd, IPPROTO_IP, IP_RECVTOS);  // also of IPv4 packets to an IPv6 socket
  if (v6) {
    SetFlag(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO);
    SetFlag(fd, IPPROTO_IPV6, IPV6_RECVTCLASS);
  } else {
    SetFlag(fd, IPPROTO_IP, IP_PKTINFO);
  }
}

absl::StatusOr<std::unique_ptr<HandshakeLanes>> HandshakeLanes::Join(int first, uint64_t salt) {
  constexpr char kAttempt[] = "receive handshakes on sockets of their own";
  std::unique_ptr<HandshakeLanes> lanes(new HandshakeLanes(first));
  lanes->epoll_ = FileDescriptor(epoll_create1(EPOLL_CLOEXEC));
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (!lanes->epoll_.valid() ||
      getsockname(first, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return ErrnoStatus(kAttempt);
  }
  int only_v6 = 0;
  socklen_t only_v6_size = sizeof(only_v6);
  if (address.ss_family == AF_INET6 &&
      getsockopt(first, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, &only_v6_size) != 0) {
    return ErrnoStatus(kAttempt);
  }
  SetFlag(first, SOL_SOCKET, SO_REUSEPORT);
  for (size_t i = 0; i < kHandshakeLanes; ++i) {
    IM_RETURN_IF_ERROR(Annotate(
        lanes->AddLane(i, address.ss_family, only_v6 != 0, address, size), kAttempt));
  }
  IM_RETURN_IF_ERROR(Annotate(lanes->Sort(salt), kAttempt));
  return lanes;
}

HandshakeLanes::HandshakeLanes(int first)
    : first_(first), receiver_(kMessagesPerLane, kMessageBytes) {}

absl::Status HandshakeLanes::AddLane(size_t number, int family, bool only_v6,
                                     const sockaddr_storage& address, socklen_t address_size) {
  FileDescriptor& lane = lanes_[number];
  lane = FileDescriptor(socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!lane.valid()) return ErrnoStatus("socket");
  const bool v6 = family == AF_INET6;
  const int only = only_v6 ? 1 : 0;
  if (v6 && setsockopt(lane.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) != 0) {
    return ErrnoStatus("IPV6_V6ONLY");
  }
  AskForMessageDetails(lane.get(), v6);
  static_cast<void>(setsockopt(lane.get(), SOL_SOCKET, SO_RCVBUF, &kHandshakeLaneBytes,
                               sizeof(kHandshakeLaneBytes)));
  SetFlag(lane.get(), SOL_SOCKET, SO_REUSEPORT);
  if (bind(lane.get(), reinterpret_cast<const sockaddr*>(&address), address_size) != 0) {
    return ErrnoStatus("bind");
  }
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u32 = static_cast<uint32_t>(number);
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, lane.get(), &event) != 0) {
    return ErrnoStatus("epoll_ctl");
  }
  return absl::OkStatus();
}

// The result is the number in the port's group, in the order of binding: 0 is
// the tunnel's first socket. A load beyond the message would end the program
// with 0, so its length is looked at first.
absl::Status HandshakeLanes::Sort(uint64_t salt) {
  const uint32_t mask = static_cast<uint32_t>(salt);
  const uint32_t factor = static_cast<uint32_t>(salt >> 32) | 1;  // odd: no bit is lost
  constexpr uint32_t kTransport = static_cast<uint32_t>(MessageType::kTransport);
  constexpr uint32_t kIp = static_cast<uint32_t>(SKF_NET_OFF);
  constexpr uint32_t kMac2OfInitiation = offsetof(InitiationMessage, mac2);
  constexpr uint32_t kMac2OfResponse = offsetof(ResponseMessage, mac2);
  constexpr uint32_t kHashShift = 32 - std::bit_width(kSourceLanes - 1);
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kTransport, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      // X: where MAC2 is; M[0]: the first lane of its half.
      BPF_STMT(BPF_LD | BPF_IMM, 1),
      BPF_STMT(BPF_ST, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
      BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, kMac2OfInitiation),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, sizeof(InitiationMessage), 2, 0),
      BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, kMac2OfResponse),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, sizeof(ResponseMessage), 0, 10),
      BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 6),
      BPF_STMT(BPF_LD | BPF_W | BPF_IND, 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_IND, 8),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2),
      BPF_STMT(BPF_LD | BPF_W | BPF_IND, 12),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 2, 0),
      BPF_STMT(BPF_LD | BPF_IMM, 1 + kSourceLanes),
      BPF_STMT(BPF_ST, 0),
      // The source's address, hashed.
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kIp),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x60, 2, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kIp + 12),
      BPF_STMT(BPF_JMP | BPF_JA, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kIp + 8),
      BPF_STMT(BPF_MISC | BPF_TAX, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kIp + 12),
      BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
      BPF_STMT(BPF_ALU | BPF_XOR | BPF_K, mask),
      BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, factor),
      BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, kHashShift),
      BPF_STMT(BPF_MISC | BPF_TAX, 0),
      BPF_STMT(BPF_LD | BPF_MEM, 0),
      BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0),
      BPF_STMT(BPF_RET | BPF_A, 0),
  };
  const sock_fprog whole = {.len = std::size(program), .filter = program};
  if (setsockopt(first_, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &whole, sizeof(whole)) != 0) {
    return ErrnoStatus("SO_ATTACH_REUSEPORT_CBPF");
  }
  return absl::OkStatus();
}

// The one before stays if the kernel has no memory for another.
void HandshakeLanes::SetSalt(uint64_t salt) { Sort(salt).IgnoreError(); }

bool HandshakeLanes::Receive(DatagramBatch& batch) {
  for (bool looked = false;; looked = true) {
    while (ready_ != 0) {
      const int lane = std::countr_zero(ready_);
      ready_ &= ready_ - 1;
      if (receiver_.Receive(lanes_[static_cast<size_t>(lane)].get(), batch)) return true;
    }
    if (looked) return false;
    FindReady();
  }
}

void HandshakeLanes::FindReady() {
  epoll_event events[kHandshakeLanes];
  const int count = epoll_wait(epoll_.get(), events, kHandshakeLanes, 0);
  for (int i = 0; i < count; ++i) ready_ |= 1u << events[i].data.u32;
}

}  // namespace im::tunnel
