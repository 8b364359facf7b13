#include "orchestrator/agent/seq_packet.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace im::agent {
namespace {

constexpr size_t kControlBytes =
    CMSG_SPACE(sizeof(int) * kSeqPacketFdsMax) + CMSG_SPACE(sizeof(ucred));

}  // namespace

absl::StatusOr<std::pair<FileDescriptor, FileDescriptor>> MakeSeqPacketPair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
    return ErrnoStatus("make a socket pair");
  FileDescriptor first(fds[0]), second(fds[1]);
  IM_RETURN_IF_ERROR(first.SetNonBlocking());
  const int on = 1;
  if (setsockopt(first.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0)
    return ErrnoStatus("set SO_PASSCRED");
  return std::make_pair(std::move(first), std::move(second));
}

absl::Status SendSeqPacket(int socket, absl::string_view bytes, std::span<const int> fds,
                           pid_t pid) {
  if (bytes.size() > kSeqPacketBytesMax || fds.size() > kSeqPacketFdsMax)
    return absl::ResourceExhaustedError("message too long");
  iovec data = {const_cast<char*>(bytes.data()), bytes.size()};
  alignas(cmsghdr) char control[kControlBytes] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  size_t used = 0;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (!fds.empty()) {
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
    used += CMSG_SPACE(fds.size_bytes());
    header = CMSG_NXTHDR(&message, header);
  }
  if (pid != 0) {
    const ucred credentials = {pid, getuid(), getgid()};
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_CREDENTIALS;
    header->cmsg_len = CMSG_LEN(sizeof(credentials));
    std::memcpy(CMSG_DATA(header), &credentials, sizeof(credentials));
    used += CMSG_SPACE(sizeof(credentials));
  }
  message.msg_controllen = used;
  if (used == 0) message.msg_control = nullptr;
  ssize_t n = 0;
  do {
    n = sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n < 0 ? ErrnoStatus("send a message") : absl::OkStatus();
}

absl::StatusOr<std::optional<SeqPacket>> ReceiveSeqPacket(int socket) {
  // The size of the next message, so that an idle agent holds no large buffer.
  const ssize_t size = recv(socket, nullptr, 0, MSG_PEEK | MSG_TRUNC);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
  if (size < 0) return ErrnoStatus("receive a message");
  if (size == 0) return absl::OutOfRangeError("closed");
  SeqPacket packet;
  packet.bytes.resize(std::min<size_t>(size, kSeqPacketBytesMax));
  iovec data = {packet.bytes.data(), packet.bytes.size()};
  alignas(cmsghdr) char control[kControlBytes];
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (n < 0) return ErrnoStatus("receive a message");
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET) continue;
    if (header->cmsg_type == SCM_RIGHTS) {
      const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
        packet.fds.emplace_back(fd);
      }
    } else if (header->cmsg_type == SCM_CREDENTIALS) {
      ucred credentials;
      std::memcpy(&credentials, CMSG_DATA(header), sizeof(credentials));
      packet.pid = credentials.pid;
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
    return absl::ResourceExhaustedError("message too long");
  packet.bytes.resize(n);
  return packet;
}

}  // namespace im::agent
