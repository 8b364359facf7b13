// CgroupLayout: which cgroup hierarchies a machine has mounted where.
//
// Three kinds are met: version 2 alone (today's Debian), version 1 alone, and
// both side by side ("hybrid": controllers in version 1, an almost empty
// version 2 beside them). cgroups(7).

#ifndef IM_ORCHESTRATOR_AGENT_CGROUP_LAYOUT_H_
#define IM_ORCHESTRATOR_AGENT_CGROUP_LAYOUT_H_

#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace im::agent {

struct CgroupLayout {
  struct Hierarchy {
    std::string root;  // where it is mounted
    std::string own;   // the directory of the asking process; may be `root`
  };
  std::optional<Hierarchy> v2;
  std::map<std::string, Hierarchy> v1;  // by controller: "freezer", "memory" …
};

// Out of the texts of /proc/self/mountinfo and /proc/self/cgroup.
CgroupLayout ParseCgroupLayout(absl::string_view mountinfo, absl::string_view cgroup);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_CGROUP_LAYOUT_H_
