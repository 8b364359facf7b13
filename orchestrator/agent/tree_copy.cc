#include "orchestrator/agent/tree_copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"

namespace im::agent {
namespace {

absl::Status ErrorAt(const char* what, const char* name) {
  return ErrnoStatus(absl::StrCat(what, " ", name));
}

// The owner first: to change it takes set-user-ID bits away.
absl::Status Finish(int fd, const struct stat& like, const char* name) {
  const timespec times[] = {like.st_atim, like.st_mtim};
  if (fchown(fd, like.st_uid, like.st_gid) != 0 || fchmod(fd, like.st_mode & 07777) != 0 ||
      futimens(fd, times) != 0)
    return ErrorAt("copy the owner, mode and times of", name);
  return absl::OkStatus();
}

absl::Status CopyFile(int from, int to, const char* name) {
  const FileDescriptor source(openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat info;
  if (!source.valid() || fstat(source.get(), &info) != 0) return ErrorAt("open", name);
  const FileDescriptor copy(openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!copy.valid()) return ErrorAt("make", name);
  constexpr size_t kAtOnce = 1 << 30;
  ssize_t n = 0;
  while ((n = sendfile(copy.get(), source.get(), nullptr, kAtOnce)) > 0) continue;
  if (n < 0) return ErrorAt("copy", name);
  return Finish(copy.get(), info, name);
}

absl::Status CopyLink(int from, int to, const char* name, const struct stat& info) {
  char target[PATH_MAX];
  const ssize_t size = readlinkat(from, name, target, sizeof(target) - 1);
  if (size < 0) return ErrorAt("read the link", name);
  target[size] = '\0';
  if (symlinkat(target, to, name) != 0 ||
      fchownat(to, name, info.st_uid, info.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
    return ErrorAt("make the link", name);
  return absl::OkStatus();
}

absl::Status CopyDirectory(int from, int to, const char* name, const struct stat& info) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  const FileDescriptor source(openat(from, name, kFlags));
  if (!source.valid()) return ErrorAt("open", name);
  if (mkdirat(to, name, 0700) != 0) return ErrorAt("make directory", name);
  const FileDescriptor copy(openat(to, name, kFlags));
  if (!copy.valid()) return ErrorAt("open", name);
  IM_RETURN_IF_ERROR(CopyContent(source.get(), copy.get()));
  return Finish(copy.get(), info, name);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> NamesIn(int directory) {
  // Its own file description: where it is read up to is not the caller's affair.
  const int own = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(own < 0 ? nullptr : fdopendir(own), closedir);
  if (listing == nullptr) return ErrorAt("read", "a directory");
  std::vector<std::string> names;
  while (const dirent* entry = readdir(listing.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  return names;
}

absl::Status CopyContent(int from, int to) {
  IM_ASSIGN_OR_RETURN(const std::vector<std::string> names, NamesIn(from));
  for (const std::string& entry : names) {
    const char* const name = entry.c_str();
    struct stat info;
    if (fstatat(from, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return ErrorAt("look at", name);
    if (S_ISDIR(info.st_mode)) {
      IM_RETURN_IF_ERROR(CopyDirectory(from, to, name, info));
    } else if (S_ISREG(info.st_mode)) {
      IM_RETURN_IF_ERROR(CopyFile(from, to, name));
    } else if (S_ISLNK(info.st_mode)) {
      IM_RETURN_IF_ERROR(CopyLink(from, to, name, info));
    }
  }
  return absl::OkStatus();
}

}  // namespace im::agent
