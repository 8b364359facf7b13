#include "tunnel/uapi_client.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"

namespace im::tunnel {
namespace {

// Longer than a busy interface needs to answer; then it hangs.
constexpr time_t kUapiAnswerTime_s = 10;
// More than any answer that is asked for here.
constexpr size_t kAnswerBytesMax = 1 << 20;
constexpr char kSuccess[] = "errno=0\n\n";

}  // namespace

absl::StatusOr<std::string> AskUapi(const std::string& path, absl::string_view request) {
  const std::string attempt = absl::StrCat("ask at ", path);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat(attempt, ": the path is too long"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience = {.tv_sec = kUapiAnswerTime_s, .tv_usec = 0};
  if (!fd.valid() ||
      setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0) {
    return ErrnoStatus(attempt);
  }
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) {
      return absl::NotFoundError(absl::StrCat(attempt, ": no such interface runs"));
    }
    return ErrnoStatus(attempt);
  }
  const std::string text = absl::StrCat(request, "\n\n");
  if (send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(text.size())) {
    return ErrnoStatus(attempt);
  }
  std::string answer;
  while (!absl::EndsWith(answer, "\n\n") && answer.size() < kAnswerBytesMax) {
    char bytes[4096];
    const ssize_t size = recv(fd.get(), bytes, sizeof(bytes), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return ErrnoStatus(attempt);
    if (size == 0) break;
    answer.append(bytes, static_cast<size_t>(size));
  }
  if (!absl::EndsWith(answer, kSuccess)) {
    return absl::FailedPreconditionError(absl::StrCat(attempt, ": it does not know the answer"));
  }
  answer.resize(answer.size() - (sizeof(kSuccess) - 1));
  return answer;
}

}  // namespace im::tunnel
