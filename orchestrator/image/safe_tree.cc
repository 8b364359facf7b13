#include "orchestrator/image/safe_tree.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace im::orchestrator {
namespace {

FileDescriptor OpenInRoot(int root, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return FileDescriptor(static_cast<int>(
      syscall(SYS_openat2, root, path.empty() ? "." : path.c_str(), &how, sizeof(how))));
}

std::string Directory(absl::string_view path) {
  const size_t slash = path.rfind('/');
  return std::string(path.substr(0, slash == absl::string_view::npos ? 0 : slash));
}

}  // namespace

absl::StatusOr<SafeTree> SafeTree::Open(const std::string& directory) {
  FileDescriptor root(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return ErrnoStatus(absl::StrCat("open ", directory));
  return SafeTree(std::move(root));
}

absl::StatusOr<std::string> SafeTree::Normal(absl::string_view path) {
  std::vector<absl::string_view> parts;
  for (absl::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (part == ".") continue;
    if (part == ".." || part.find('\0') != absl::string_view::npos)
      return absl::InvalidArgumentError(absl::StrCat("\"", path, "\" leads out of the image"));
    parts.push_back(part);
  }
  return absl::StrJoin(parts, "/");
}

absl::StatusOr<FileDescriptor> SafeTree::Make(const std::string& directory) {
  FileDescriptor fd = OpenInRoot(root_.get(), directory, O_PATH | O_DIRECTORY);
  if (fd.valid()) return fd;
  if (errno != ENOENT || directory.empty()) return ErrnoStatus(absl::StrCat("open ", directory));
  IM_ASSIGN_OR_RETURN(const FileDescriptor parent, Make(Directory(directory)));
  if (mkdirat(parent.get(), Name(directory).c_str(), 0755) != 0)
    return ErrnoStatus(absl::StrCat("make directory ", directory));
  fd = OpenInRoot(root_.get(), directory, O_PATH | O_DIRECTORY);
  if (!fd.valid()) return ErrnoStatus(absl::StrCat("open ", directory));
  return fd;
}

absl::StatusOr<int> SafeTree::Parent(absl::string_view path) {
  const std::string directory = Directory(path);
  if (!parent_.valid() || directory != parent_path_) {
    IM_ASSIGN_OR_RETURN(parent_, Make(directory));
    parent_path_ = directory;
  }
  return parent_.get();
}

absl::StatusOr<FileDescriptor> SafeTree::OpenFile(const std::string& path, int flags) const {
  FileDescriptor fd = OpenInRoot(root_.get(), path, flags);
  if (!fd.valid()) return ErrnoStatus(absl::StrCat("open ", path));
  return fd;
}

absl::StatusOr<FileDescriptor> SafeTree::OpenNode(const std::string& path) const {
  return OpenFile(path, O_PATH | O_NOFOLLOW);
}

absl::Status SafeTree::Remove(int parent, const std::string& name) {
  if (unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return absl::OkStatus();
  if (errno != EISDIR && errno != EPERM) return ErrnoStatus(absl::StrCat("remove ", name));
  // Nobody else changes the tree meanwhile, and links in it are not followed.
  std::error_code error;
  std::filesystem::remove_all(absl::StrCat("/proc/self/fd/", parent, "/", name), error);
  Forget();
  if (error) return ErrnoStatus(absl::StrCat("remove ", name), error.value());
  return absl::OkStatus();
}

}  // namespace im::orchestrator
