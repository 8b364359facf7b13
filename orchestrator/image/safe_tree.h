// SafeTree: a directory that others' files are put into, and nothing outside of it.
//
// Paths come out of archives that anybody may have made. Each is looked up as if the
// directory were the root of the file system (openat2(2), RESOLVE_IN_ROOT): "..", absolute
// paths and symbolic links, also those that were put there before, end at it. A last
// component is never followed.

#ifndef IM_ORCHESTRATOR_IMAGE_SAFE_TREE_H_
#define IM_ORCHESTRATOR_IMAGE_SAFE_TREE_H_

#include <string>

#include "absl/strings/string_view.h"
#include "base/file_descriptor.h"
#include "base/status.h"

namespace im::orchestrator {

class SafeTree {
 public:
  static absl::StatusOr<SafeTree> Open(const std::string& directory);

  // "./a//b/" → "a/b"; empty for the root itself. InvalidArgument: it has "..", or a NUL.
  static absl::StatusOr<std::string> Normal(absl::string_view path);

  // A descriptor (O_PATH) of the directory that `path`, a normal one, lies in; what is missing
  // of it is made, mode 0755. Good until the next call of any method but this.
  absl::StatusOr<int> Parent(absl::string_view path);
  static std::string Name(absl::string_view path) {
    return std::string(path.substr(path.rfind('/') + 1));
  }

  // A file of the tree, links followed within it, with the flags of open(2).
  absl::StatusOr<FileDescriptor> OpenFile(const std::string& path, int flags) const;
  // The same, but the last component is not followed.
  absl::StatusOr<FileDescriptor> OpenNode(const std::string& path) const;

  // What is there is removed, a directory with all in it. No error if there is nothing.
  absl::Status Remove(int parent, const std::string& name);
  // After links were made: what Parent remembers may lie elsewhere now.
  void Forget() { parent_path_.clear(), parent_.Reset(); }

  int fd() const { return root_.get(); }

 private:
  explicit SafeTree(FileDescriptor root) : root_(std::move(root)) {}
  absl::StatusOr<FileDescriptor> Make(const std::string& directory);

  FileDescriptor root_;
  std::string parent_path_;
  FileDescriptor parent_;  // of parent_path_, the last one that was asked for
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_IMAGE_SAFE_TREE_H_
