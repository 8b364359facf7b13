#include "orchestrator/cli/context.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "orchestrator/cli/cluster_choice.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cluster_spec.h"

namespace im::orchestrator::cli {

absl::StatusOr<std::string> Context::ChosenStateDirectory() const {
  const std::vector<std::string> roots = OurStateRoots();
  ClusterQuery query;
  query.option = cluster_option;
  const char* variable = std::getenv("IM_CLUSTER");
  query.variable = variable == nullptr ? "" : variable;
  if (query.option.empty() && query.variable.empty()) {
    query.running = RunningClusters(roots);
    std::error_code error;
    const std::string file = DefaultSpecFile();
    if (query.running.size() != 1 && std::filesystem::exists(file, error)) {
      const ParsedClusterSpec parsed = LoadClusterSpec(file);
      if (parsed.spec) query.in_directory = parsed.spec->name;
    }
  }
  absl::StatusOr<std::string> name = ChooseCluster(query);
  if (!name.ok()) return name.status();
  return StateDirectory(roots, *name);
}

void PrintError(absl::string_view message) {
  const std::string line = absl::StrCat("im: ", message, "\n");
  std::fflush(stdout);
  std::fputs(line.c_str(), stderr);
}

int Fail(const absl::Status& status) {
  PrintError(std::string(status.message()));
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound: return kExitBadInput;
    case absl::StatusCode::kUnavailable: return kExitRunning;
    case absl::StatusCode::kPermissionDenied: return kExitNotPermitted;
    default: return kExitFailure;
  }
}

std::string ProgramDirectory() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::string(".") : path.parent_path().string();
}

}  // namespace im::orchestrator::cli
