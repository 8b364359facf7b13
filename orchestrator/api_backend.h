// ApiBackend: what the API server asks of the controller.
//
// All methods are called on the loop's thread. `done` and `on_end` must be
// called on it too, exactly once each, at once or later; calling them after
// the client has gone is harmless.

#ifndef IM_ORCHESTRATOR_API_BACKEND_H_
#define IM_ORCHESTRATOR_API_BACKEND_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "orchestrator/event_log.h"
#include "proto/api.pb.h"

namespace im::orchestrator {

class ApiBackend {
 public:
  using HostDone = std::function<void(absl::StatusOr<proto::HostInfo>)>;
  using Done = std::function<void(absl::Status)>;

  virtual ~ApiBackend() = default;

  virtual proto::Cluster Cluster() = 0;
  // Asks the agents of running hosts (none named: of all) for their figures.
  // `done` when they are here, or will not be soon.
  virtual void Refresh(const std::vector<std::string>& hosts, std::function<void()> done) = 0;
  // NotFound names the unknown host.
  virtual absl::StatusOr<proto::ListHostsReply> Hosts(const proto::ListHostsRequest& request) = 0;
  virtual absl::StatusOr<proto::WhyReply> Why(const std::string& host) = 0;
  virtual EventLog& events() = 0;

  // `done` when the host runs, or with the reason why it does not.
  virtual void Wake(const proto::WakeRequest& request, HostDone done) = 0;
  // `done` when the host is paused.
  virtual void Suspend(const std::string& host, HostDone done) = 0;
  // `done` when the host is released.
  virtual void Release(const std::string& host, HostDone done) = 0;

  // Adds a guest. `on_end` is called if it ends otherwise than by Leave
  // (the cluster goes down); Leave must not be called then.
  virtual absl::StatusOr<proto::JoinReply> Join(const proto::JoinRequest& request, Done on_end) = 0;
  // The guest's client is gone. `on_end` is not called any more.
  virtual void Leave(const std::string& host) = 0;

  virtual absl::StatusOr<proto::DashboardReply> OpenDashboard(
      const proto::DashboardRequest& request) = 0;

  // Releases all hosts; `done` when nothing is left. Events tell the progress.
  virtual void Down(bool force, Done done) = 0;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_API_BACKEND_H_
