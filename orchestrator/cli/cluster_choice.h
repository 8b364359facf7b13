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

using Environment = std::function<const char*(const char* name)>;

// $IM_STATE_DIR, else /run/im: clusters are root's, whoever looks at them.
std::string StateRoot(const Environment& environment);

// The cluster's directory below it, and the socket that imd listens on.
std::string StateDirectory(const std::string& root, const std::string& cluster);
std::string ApiSocket(const std::string& state_directory);

enum class Listener {
  kNone,
  kAnswers,    // somebody accepts connections
  kForbidden,  // there is a socket, which is not for this user
};
Listener ListenerAt(const std::string& path);

// The clusters below `root` whose imd answers, or would if it were root who
// asks; sorted.
std::vector<std::string> RunningClusters(const std::string& root);

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
