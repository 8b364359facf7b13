#include "tunnel/udp_offload.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/file_descriptor.h"
#include "base/log.h"

namespace im::tunnel {
namespace {

// The trains of the test. Their datagrams fit any MTU, and all of them a
// socket's buffer as it is by default.
constexpr size_t kDatagrams = 16;
constexpr size_t kDatagramBytes = 1200;
constexpr size_t kShortBytes = 700;
// Delivery on the loopback interface is immediate, unless the machine is busy.
constexpr int kWaitMs = 100;

enum class Result { kWorks, kBroken, kUnknown };

struct SocketPair {
  FileDescriptor sender;
  FileDescriptor receiver;

  // False where there is no loopback.
  bool Open() {
    sender = FileDescriptor(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    receiver = FileDescriptor(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof(address);
    return sender.valid() && receiver.valid() && bind(receiver.get(), any, size) == 0 &&
           getsockname(receiver.get(), any, &size) == 0 &&
           connect(sender.get(), any, size) == 0;
  }
};

Result SendTrain(int fd, const std::vector<uint8_t>& train) {
  const int segment = kDatagramBytes;
  if (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)) != 0) return Result::kBroken;
  if (send(fd, train.data(), train.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(train.size())) {
    return Result::kWorks;
  }
  return errno == EIO || errno == EINVAL || errno == EMSGSIZE ? Result::kBroken : Result::kUnknown;
}

// The next message; -1 if none comes.
ssize_t ReceiveMessage(int fd, std::span<uint8_t> buffer, size_t& segment_size) {
  pollfd ready = {fd, POLLIN, 0};
  if (poll(&ready, 1, kWaitMs) != 1) return -1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec part = {buffer.data(), buffer.size()};
  msghdr header = {};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  const ssize_t size = recvmsg(fd, &header, MSG_DONTWAIT);
  segment_size = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); size >= 0 && c != nullptr;
       c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_UDP || c->cmsg_type != UDP_GRO) continue;
    int value = 0;
    std::memcpy(&value, CMSG_DATA(c), sizeof(value));
    segment_size = value > 0 ? static_cast<size_t>(value) : 0;
  }
  return size;
}

Result TryTrain(const SocketPair& sockets, size_t last_size) {
  TrainCheck check(kDatagrams, kDatagramBytes, last_size);
  const Result sent = SendTrain(sockets.sender.get(), check.train());
  if (sent != Result::kWorks) return sent;
  std::vector<uint8_t> buffer(64 << 10);
  while (!check.complete()) {
    size_t segment_size = 0;
    const ssize_t size = ReceiveMessage(sockets.receiver.get(), buffer, segment_size);
    // Nothing at all: a firewall, or a machine that is very busy.
    if (size < 0) return Result::kUnknown;
    const auto message = std::span<const uint8_t>(buffer).first(static_cast<size_t>(size));
    if (!check.Take(message, segment_size)) return Result::kBroken;
  }
  return Result::kWorks;
}

Result TryTrains(const SocketPair& sockets) {
  const Result equal = TryTrain(sockets, kDatagramBytes);
  return equal != Result::kWorks ? equal : TryTrain(sockets, kShortBytes);
}

bool Decide(Switch wanted, bool probed) {
  return wanted == Switch::kOn || (wanted == Switch::kAuto && probed);
}

}  // namespace

TrainCheck::TrainCheck(size_t count, size_t size, size_t last_size) : size_(size) {
  train_.resize((count - 1) * size + last_size);
  for (size_t i = 0; i < train_.size(); ++i) {
    train_[i] = static_cast<uint8_t>(i / size * 31 + i % size * 7);
  }
}

bool TrainCheck::Take(std::span<const uint8_t> message, size_t segment_size) {
  if (message.empty()) return false;
  const size_t piece_max = segment_size == 0 ? message.size() : segment_size;
  while (!message.empty()) {
    const auto piece = message.first(std::min(piece_max, message.size()));
    const size_t expected = std::min(size_, train_.size() - taken_);
    if (piece.size() != expected ||
        !std::equal(piece.begin(), piece.end(), train_.begin() + static_cast<ptrdiff_t>(taken_))) {
      return false;
    }
    taken_ += piece.size();
    message = message.subspan(piece.size());
  }
  return true;
}

UdpOffload UdpOffload::Probe() {
  UdpOffload works;
  SocketPair sockets;
  if (!sockets.Open()) return works;
  if (TryTrains(sockets) == Result::kBroken) {
    IM_LOG(kWarning, "UDP_SEGMENT of this kernel does not work; datagrams are sent one by one");
    works.gso = false;
    return works;  // no trains, so nothing that UDP_GRO could be tried with
  }
  const int on = 1;
  works.gro = setsockopt(sockets.receiver.get(), SOL_UDP, UDP_GRO, &on, sizeof(on)) == 0 &&
              TryTrains(sockets) != Result::kBroken;
  if (!works.gro) {
    IM_LOG(kWarning, "UDP_GRO of this kernel does not work; datagrams are received one by one");
  }
  return works;
}

UdpOffload UdpOffload::Choose(const Tuning& tuning, const std::function<UdpOffload()>& probe) {
  UdpOffload probed;
  if (tuning.udp_gso == Switch::kAuto || tuning.udp_gro == Switch::kAuto) probed = probe();
  return {.gso = Decide(tuning.udp_gso, probed.gso), .gro = Decide(tuning.udp_gro, probed.gro)};
}

const UdpOffload& UdpOffload::OfProcess() {
  static const UdpOffload chosen = Choose(Tuning::ByEnvironment(), Probe);
  return chosen;
}

bool UdpOffload::GroIsThinkable(const Tuning& tuning) {
  utsname kernel = {};
  return GroIsThinkable(tuning, uname(&kernel) == 0 ? kernel.release : "");
}

bool UdpOffload::GroIsThinkable(const Tuning& tuning, const char* release) {
  if (tuning.udp_gro != Switch::kAuto) return tuning.udp_gro == Switch::kOn;
  int major = 0, minor = 0;
  if (std::sscanf(release, "%d.%d", &major, &minor) != 2) return true;
  return major > 5 || (major == 5 && minor >= 12);
}

}  // namespace im::tunnel
