// Which cluster a command is about, and where its files are.
//
// -c NAME, else $IM_CLUSTER, else the only one that runs, else the one that
// the working directory's cluster.yaml describes.

#ifndef IM_ORCHESTRATOR_CLI_CLUSTER_CHOICE_H_
#define IM_ORCHESTRATOR_CLI_CLUSTER_CHOICE_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace im::orchestrator::cli {

inline constexpr char kSpecFileName[] = "cluster.yaml";

// The file that is meant where none is named: cluster.yaml, else a Compose file as Compose
// looks for it; cluster.yaml if there is none.
std::string DefaultSpecFile();

using Environment = std::function<const char*(const char* name)>;

// Where the clusters are that a user sees; the first is where im up makes theirs:
//
//   anybody with IM_STATE_DIR   there alone
//   root                        /run/im
//   others                      $XDG_RUNTIME_DIR/im, or ~/.local/state/im without
//                               the former; and /run/im, what sudo brought up
std::vector<std::string> StateRoots(const Environment& environment, bool root);
// Those of this process, absolute.
std::vector<std::string> OurStateRoots();

// The cluster's directory: below the first of `roots` where it runs; the first
// if it does not. And the socket that its imd listens on.
std::string StateDirectory(const std::vector<std::string>& roots, const std::string& cluster);
std::string ApiSocket(const std::string& state_directory);

enum class Listener {
  kNone,
  kAnswers,    // somebody accepts connections
  kForbidden,  // there is a socket, which is not for this user
};
Listener ListenerAt(const std::string& path);

// The clusters below `roots` whose imd answers, or would if it were root who
// asks; sorted.
std::vector<std::string> RunningClusters(const std::vector<std::string>& roots);

struct ClusterQuery {
  std::string option;                // -c
  std::string variable;              // $IM_CLUSTER
  std::vector<std::string> running;  // RunningClusters
  // The name in the working directory's cluster.yaml; nullopt: there is none,
  // or it is bad.
  std::optional<std::string> in_directory;
};

// Unavailable if no cluster is meant, InvalidArgument if it is not
// clear which; the message says what to do.
absl::StatusOr<std::string> ChooseCluster(const ClusterQuery& query);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_CLUSTER_CHOICE_H_
