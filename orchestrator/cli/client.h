// Client: the connection to a cluster's imd.

#ifndef IM_ORCHESTRATOR_CLI_CLIENT_H_
#define IM_ORCHESTRATOR_CLI_CLIENT_H_

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "orchestrator/cli/context.h"
#include "proto/api.grpc.pb.h"

namespace im::orchestrator::cli {

// imd answers from memory; this is for one that is stopped or overloaded.
inline constexpr std::chrono::seconds kAnswerTimeout(10);

class Client {
 public:
  // Unavailable if nobody listens there, PermissionDenied if this user may not
  // connect; the message says what to do.
  static absl::StatusOr<Client> Connect(const std::string& state_directory);
  // To the cluster that the command line means.
  static absl::StatusOr<Client> Connect(const Context& context);

  // Whether this user may reach into the hosts (their sockets, their logs), and
  // not only talk to imd; the message says what to do.
  absl::Status MayReachHosts() const;

  proto::Orchestrator::Stub& stub() { return *stub_; }
  const std::string& state_directory() const { return state_directory_; }

  absl::StatusOr<proto::Cluster> GetCluster();
  // Returns when the host is up, for a command in it, which `detail` is.
  absl::StatusOr<proto::HostInfo> WakeForExec(const std::string& host, const std::string& detail);
  absl::StatusOr<proto::WhyReply> Why(const std::string& host);
  // InvalidArgument: `name` is a service of several.
  absl::StatusOr<proto::HostInfo> FindHost(const std::string& name);
  // `names`: of hosts, or of services with replicas, which are all of them; none: all
  // hosts. `fresh`: with the figures of this moment, else of the last 2 s.
  absl::StatusOr<std::vector<proto::HostInfo>> ListHosts(
      const std::vector<std::string>& names = {}, bool fresh = false);

 private:
  Client() = default;

  std::string state_directory_;
  std::unique_ptr<proto::Orchestrator::Stub> stub_;
};

// The message as it is. Unavailable is imd's own end alone.
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_CLIENT_H_
