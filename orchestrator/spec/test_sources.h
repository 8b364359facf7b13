// SpecSources without a file system, for tests.

#ifndef IM_ORCHESTRATOR_SPEC_TEST_SOURCES_H_
#define IM_ORCHESTRATOR_SPEC_TEST_SOURCES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "orchestrator/cluster_spec.h"

namespace im::orchestrator {

inline SpecSources FakeSources(std::map<std::string, std::string> files = {},
                               std::map<std::string, std::string> variables = {}) {
  SpecSources sources;
  sources.read_file = [files](const std::string& path) -> absl::StatusOr<std::string> {
    const auto it = files.find(path);
    if (it == files.end()) {
      return absl::NotFoundError(absl::StrCat("open ", path, ": No such file or directory"));
    }
    return it->second;
  };
  sources.variable = [variables](const std::string& name) -> std::optional<std::string> {
    const auto it = variables.find(name);
    return it == variables.end() ? std::nullopt : std::optional(it->second);
  };
  return sources;
}

// Each as one line.
inline std::vector<std::string> Lines(const std::vector<Diagnostic>& diagnostics) {
  std::vector<std::string> lines;
  for (const Diagnostic& d : diagnostics) lines.push_back(d.ToString());
  return lines;
}

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_SPEC_TEST_SOURCES_H_
