// HostPoller: asks imd how the hosts are, without waiting: who draws and reads
// keys goes on, and an imd that hangs keeps nobody from leaving.

#ifndef IM_ORCHESTRATOR_CLI_HOST_POLLER_H_
#define IM_ORCHESTRATOR_CLI_HOST_POLLER_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file_descriptor.h"
#include "orchestrator/cli/client.h"

namespace im::orchestrator::cli {

class HostPoller {
 public:
  struct Answer {
    proto::Cluster cluster;
    std::vector<proto::HostInfo> hosts;
  };

  // `client` must outlive it.
  explicit HostPoller(Client& client);
  ~HostPoller();  // calls the question off
  HostPoller(const HostPoller&) = delete;
  HostPoller& operator=(const HostPoller&) = delete;

  // `all`: those without an instance, too. Ignored while a question is open.
  void Ask(bool all);
  // Readable when there is an answer.
  int fd() const { return event_.get(); }
  // nullopt: not yet.
  std::optional<absl::StatusOr<Answer>> Take();

 private:
  struct Question {
    grpc::ClientContext cluster_call;
    grpc::ClientContext hosts_call;
    proto::GetClusterRequest cluster_request;
    proto::ListHostsRequest hosts_request;
    proto::Cluster cluster;
    proto::ListHostsReply hosts;
  };
  void AskForHosts();
  void End(const grpc::Status& status);

  Client& client_;
  FileDescriptor event_;
  std::mutex mutex_;  // guards what follows; gRPC answers on threads of its own
  std::condition_variable over_;
  bool leaving_ = false;
  std::unique_ptr<Question> question_;  // null: none is open
  std::optional<absl::StatusOr<Answer>> answer_;
};

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_HOST_POLLER_H_
