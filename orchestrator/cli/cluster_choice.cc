#include "orchestrator/cli/cluster_choice.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file_descriptor.h"
#include "orchestrator/spec/host_parser.h"

namespace im::orchestrator::cli {

std::string DefaultSpecFile() {
  std::error_code error;
  for (const char* name : {kSpecFileName, "compose.yaml", "compose.yml", "docker-compose.yaml",
                           "docker-compose.yml"}) {
    if (std::filesystem::exists(name, error)) return name;
  }
  return kSpecFileName;
}

std::vector<std::string> StateRoots(const Environment& environment, bool root) {
  const auto get = [&](const char* name) -> std::string {
    const char* value = environment(name);
    return value == nullptr ? "" : value;
  };
  if (const std::string chosen = get("IM_STATE_DIR"); !chosen.empty()) return {chosen};
  std::vector<std::string> roots = {"/run/im"};
  if (root) return roots;
  if (const std::string runtime = get("XDG_RUNTIME_DIR"); !runtime.empty()) {
    roots.insert(roots.begin(), runtime + "/im");
  } else if (const std::string home = get("HOME"); !home.empty()) {
    roots.insert(roots.begin(), home + "/.local/state/im");
  }
  return roots;
}

std::vector<std::string> OurStateRoots() {
  auto roots = StateRoots([](const char* name) -> const char* { return std::getenv(name); },
                          geteuid() == 0);
  std::error_code error;
  for (std::string& root : roots) {
    const auto absolute = std::filesystem::absolute(root, error);
    if (!error) root = absolute.lexically_normal().string();
  }
  return roots;
}

std::string StateDirectory(const std::vector<std::string>& roots, const std::string& cluster) {
  for (const std::string& root : roots) {
    std::string directory = absl::StrCat(root, "/", cluster);
    if (ListenerAt(ApiSocket(directory)) != Listener::kNone) return directory;
  }
  return absl::StrCat(roots[0], "/", cluster);
}

std::string ApiSocket(const std::string& state_directory) {
  return absl::StrCat(state_directory, "/api.sock");
}

Listener ListenerAt(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return Listener::kNone;
  std::memcpy(address.sun_path, path.data(), path.size());
  const FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return Listener::kNone;
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return Listener::kAnswers;
  }
  if (errno == EAGAIN) return Listener::kAnswers;  // busy: its queue of callers is full
  return errno == EACCES ? Listener::kForbidden : Listener::kNone;
}

std::vector<std::string> RunningClusters(const std::vector<std::string>& roots) {
  std::set<std::string> names;
  for (const std::string& root : roots) {
    std::error_code error;
    for (std::filesystem::directory_iterator it(root, error), end; !error && it != end;
         it.increment(error)) {
      if (ListenerAt(ApiSocket(it->path().string())) != Listener::kNone) {
        names.insert(it->path().filename().string());
      }
    }
  }
  return {names.begin(), names.end()};
}

absl::StatusOr<std::string> ChooseCluster(const ClusterQuery& query) {
  for (const std::string* named : {&query.option, &query.variable}) {
    if (named->empty()) continue;
    // It becomes a path.
    if (IsHostName(*named)) return *named;
    return absl::InvalidArgumentError(absl::StrCat("\"", *named, "\" cannot be a cluster's name"));
  }
  if (query.running.size() == 1) return query.running[0];
  const auto& running = query.running;
  if (query.in_directory && (running.empty() || std::find(running.begin(), running.end(),
                                                          *query.in_directory) != running.end())) {
    return *query.in_directory;
  }
  if (!running.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("several clusters run here: ", absl::StrJoin(running, ", "),
                     "; say which one with -c NAME or IM_CLUSTER=NAME"));
  }
  return absl::UnavailableError(
      absl::StrCat("no cluster runs here, and there is no ", kSpecFileName,
                   " in this directory; start one with: im up CLUSTER.YAML"));
}

}  // namespace im::orchestrator::cli
