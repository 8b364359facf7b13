#include "orchestrator/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace im::orchestrator {
namespace {

std::string HolderOf(int lock) {
  char text[32];
  const ssize_t n = pread(lock, text, sizeof text, 0);
  const absl::string_view pid =
      absl::StripAsciiWhitespace({text, n > 0 ? static_cast<size_t>(n) : 0});
  return pid.empty() ? "another process" : absl::StrCat("pid ", pid);
}

}  // namespace

absl::StatusOr<StateDir> StateDir::Open(const std::string& path) {
  std::error_code error;
  const std::string absolute =
      std::filesystem::absolute(path, error).lexically_normal().string();
  if (error) return absl::UnknownError(absl::StrCat(path, ": ", error.message()));
  std::filesystem::create_directories(absolute + "/hosts", error);
  if (error) {
    return ErrnoStatus(absl::StrCat("make directory ", absolute, "/hosts"), error.value());
  }
  // Others may pass through the directory, to the API socket, and no further.
  // Even a lock that they could read they could take.
  if (chmod((absolute + "/hosts").c_str(), 0700) < 0) {
    return ErrnoStatus(absl::StrCat("chmod ", absolute, "/hosts"));
  }
  const std::string lock_path = absolute + "/lock";
  FileDescriptor lock(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return ErrnoStatus(absl::StrCat("open ", lock_path));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(absl::StrCat("lock ", lock_path));
    return absl::FailedPreconditionError(
        absl::StrCat("the cluster is up already: ", HolderOf(lock.get()), " holds ", lock_path));
  }
  const std::string pid = absl::StrCat(getpid(), "\n");
  if (ftruncate(lock.get(), 0) < 0 ||
      pwrite(lock.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return ErrnoStatus(absl::StrCat("write ", lock_path));
  }
  return StateDir(absolute, std::move(lock));
}

}  // namespace im::orchestrator
