#include "orchestrator/cli/agent_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace im::orchestrator::cli {
namespace {

// An ExecResult is an exit code and one line of text.
constexpr size_t kResultBytesMax = 64 << 10;

}  // namespace

absl::StatusOr<AgentSocket> AgentSocket::Connect(const std::string& instance_directory) {
  const FileDescriptor directory(
      open(instance_directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return ErrnoStatus(absl::StrCat("open ", instance_directory));
  const std::string path = absl::StrCat("/proc/self/fd/", directory.get(), "/agent.sock");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  FileDescriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return ErrnoStatus("make a socket");
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoStatus(absl::StrCat("connect to ", instance_directory, "/agent.sock"));
  }
  return AgentSocket(std::move(socket));
}

absl::Status AgentSocket::SendRequest(const proto::ExecRequest& request,
                                      const std::array<int, 3>& stdio) {
  proto::ExecToAgent message;
  *message.mutable_request() = request;
  const std::string bytes = message.SerializeAsString();
  constexpr size_t kStdioBytes = 3 * sizeof(int);
  alignas(cmsghdr) char control[CMSG_SPACE(kStdioBytes)] = {};
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(kStdioBytes);
  std::memcpy(CMSG_DATA(rights), stdio.data(), kStdioBytes);
  if (sendmsg(socket_.get(), &header, MSG_NOSIGNAL) < 0) {
    if (errno == EMSGSIZE) {
      return absl::InvalidArgumentError("the command line and environment are too long");
    }
    return ErrnoStatus("send the command to the host");
  }
  return absl::OkStatus();
}

absl::Status AgentSocket::SendSignal(int signal) {
  proto::ExecToAgent message;
  message.mutable_signal()->set_signal(signal);
  const std::string bytes = message.SerializeAsString();
  if (send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) {
    return ErrnoStatus("send the signal to the host");
  }
  return absl::OkStatus();
}

absl::StatusOr<proto::ExecResult> AgentSocket::ReceiveResult() {
  std::string bytes(kResultBytesMax, '\0');
  ssize_t n;
  do {
    n = recv(socket_.get(), bytes.data(), bytes.size(), 0);
  } while (n < 0 && errno == EINTR);
  // A socket that was closed reads as an empty message, which is a valid one:
  // only the mark tells an answer from none.
  proto::ExecResult result;
  if (n <= 0 || !result.ParseFromArray(bytes.data(), static_cast<int>(n)) || !result.ended()) {
    return absl::AbortedError("the host went away while the command ran");
  }
  return result;
}

}  // namespace im::orchestrator::cli
