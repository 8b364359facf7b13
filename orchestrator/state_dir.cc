#include "orchestrator/state_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace im::orchestrator {
namespace {

// What the lock file says: "PID LIFE\n", of one length always.
struct Holder {
  std::string pid;  // empty: nobody has ever held it
  uint64_t life = 0;
};

Holder ReadHolder(int lock) {
  char text[64];
  const ssize_t n = pread(lock, text, sizeof text, 0);
  const std::vector<std::string> words = absl::StrSplit(
      absl::string_view(text, n > 0 ? static_cast<size_t>(n) : 0), absl::ByAnyChar(" \n"),
      absl::SkipEmpty());
  Holder holder;
  if (!words.empty()) holder.pid = words[0];
  if (words.size() < 2 || !absl::SimpleAtoi(words[1], &holder.life)) holder.life = 0;
  return holder;
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
    const std::string pid = ReadHolder(lock.get()).pid;
    return absl::FailedPreconditionError(
        absl::StrCat("the cluster is up already: ",
                     pid.empty() ? "another process" : absl::StrCat("pid ", pid), " holds ",
                     lock_path));
  }
  const uint64_t life = ReadHolder(lock.get()).life + 1;
  const std::string text = absl::StrFormat("%-10d %20d\n", getpid(), life);
  if (pwrite(lock.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return ErrnoStatus(absl::StrCat("write ", lock_path));
  }
  return StateDir(absolute, std::move(lock), life);
}

}  // namespace im::orchestrator
