#include "orchestrator/agent/unix_listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "absl/strings/str_cat.h"

namespace im::agent {
namespace {

constexpr int kBacklog = 16;

// Binds `socket` to `path`, by way of the directory's descriptor where the
// path is longer than an address takes.
absl::Status BindTo(int socket, const std::string& path) {
  const size_t slash = path.rfind('/');
  FileDescriptor directory;
  std::string reachable = path;
  sockaddr_un address = {};
  if (path.size() >= sizeof(address.sun_path)) {
    directory = FileDescriptor(
        open(path.substr(0, slash).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid()) return ErrnoStatus(absl::StrCat("open the directory of ", path));
    reachable = absl::StrCat("/proc/self/fd/", directory.get(), path.substr(slash));
  }
  if (reachable.size() >= sizeof(address.sun_path))
    return absl::InvalidArgumentError(absl::StrCat("name of socket too long: ", path));
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, reachable.c_str(), reachable.size() + 1);
  unlink(path.c_str());
  if (bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0)
    return ErrnoStatus(absl::StrCat("bind ", path));
  chmod(path.c_str(), 0600);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FileDescriptor> ListenAtPath(const std::string& path, int type) {
  FileDescriptor listener(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.valid()) return ErrnoStatus("make a Unix socket");
  IM_RETURN_IF_ERROR(BindTo(listener.get(), path));
  if (listen(listener.get(), kBacklog) != 0) return ErrnoStatus(absl::StrCat("listen on ", path));
  return listener;
}

}  // namespace im::agent
