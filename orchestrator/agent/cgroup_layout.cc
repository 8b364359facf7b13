#include "orchestrator/agent/cgroup_layout.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace im::agent {
namespace {

// proc_pid_mountinfo(5): positions before and behind the " - ".
constexpr size_t kRootField = 3;
constexpr size_t kMountPointField = 4;
constexpr size_t kTypeField = 0;
constexpr size_t kOptionsField = 2;

// The process's path of each hierarchy, by controller; "" for version 2.
std::map<std::string, std::string> ParseOwnPaths(absl::string_view cgroup) {
  std::map<std::string, std::string> paths;
  for (absl::string_view line : absl::StrSplit(cgroup, '\n')) {
    // "4:memory,cpu:/path"
    const std::vector<absl::string_view> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    for (absl::string_view controller : absl::StrSplit(fields[1], ','))
      paths[std::string(controller)] = std::string(fields[2]);
  }
  return paths;
}

// Where `path` lies below `mount_point`, which shows the subtree `root`.
CgroupLayout::Hierarchy Locate(absl::string_view mount_point, absl::string_view root,
                               absl::string_view path) {
  CgroupLayout::Hierarchy hierarchy{std::string(mount_point), std::string(mount_point)};
  if (root == "/") root = "";
  if (!absl::ConsumePrefix(&path, root)) return hierarchy;  // outside of what is mounted
  path = absl::StripPrefix(path, "/");
  if (!path.empty()) hierarchy.own = absl::StrCat(mount_point, "/", path);
  return hierarchy;
}

}  // namespace

CgroupLayout ParseCgroupLayout(absl::string_view mountinfo, absl::string_view cgroup) {
  CgroupLayout layout;
  const std::map<std::string, std::string> own = ParseOwnPaths(cgroup);
  for (absl::string_view line : absl::StrSplit(mountinfo, '\n')) {
    const std::pair<absl::string_view, absl::string_view> halves =
        absl::StrSplit(line, absl::MaxSplits(" - ", 1));
    const std::vector<absl::string_view> mount = absl::StrSplit(halves.first, ' ');
    const std::vector<absl::string_view> kind = absl::StrSplit(halves.second, ' ');
    if (mount.size() <= kMountPointField || kind.size() <= kOptionsField) continue;
    const absl::string_view root = mount[kRootField], mount_point = mount[kMountPointField];
    if (kind[kTypeField] == "cgroup2") {
      auto path = own.find("");
      if (!layout.v2 && path != own.end()) layout.v2 = Locate(mount_point, root, path->second);
    } else if (kind[kTypeField] == "cgroup") {
      for (absl::string_view option : absl::StrSplit(kind[kOptionsField], ',')) {
        auto path = own.find(std::string(option));
        if (path != own.end())
          layout.v1.emplace(path->first, Locate(mount_point, root, path->second));
      }
    }
  }
  return layout;
}

}  // namespace im::agent
