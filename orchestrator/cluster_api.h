// ClusterApi: answers the command line out of the controller.
//
// Calls that wait (`im wake`, `im suspend`, `im release`) are kept as Waiters
// until the host has the state that they wait for, the controller says that it
// will not have it, or their time is over.
//
// Figures (memory, CPU, what keeps a host up) come from agents every
// 2 s while they move. Who looks at them wants to know how it is now: Refresh
// asks the agents, by a DesiredState that says nothing new, which each answers
// with its status.

#ifndef IM_ORCHESTRATOR_CLUSTER_API_H_
#define IM_ORCHESTRATOR_CLUSTER_API_H_

#include <functional>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "orchestrator/api_backend.h"
#include "orchestrator/controller.h"

namespace im::orchestrator {

// How long an agent may take to pause or thaw.
inline constexpr Duration kSuspendBound = std::chrono::seconds(10);

// How long a Refresh waits for agents. They answer in less than a millisecond,
// but one may be stopped, or the machine overloaded.
inline constexpr Duration kRefreshBound = std::chrono::milliseconds(250);
// Hosts that one Refresh asks at most; of more the figures are left as they
// are. It keeps the time that imd spends on it below a tenth of a second.
inline constexpr size_t kRefreshHostsMax = 1000;

// Events of the host that `im why` is told.
inline constexpr size_t kWhyEvents = 20;

class ClusterApi final : public ApiBackend, public Controller::Observer {
 public:
  // Observes `controller`, which must outlive it.
  explicit ClusterApi(Controller& controller);
  ~ClusterApi() override;

  // Called when a Down is complete, after its caller was told.
  void SetOnDown(std::function<void()> on_down) { on_down_ = std::move(on_down); }
  // Opens the page at a place, or where it usually is.
  using OpenPage = std::function<absl::StatusOr<proto::DashboardReply>(std::optional<Endpoint>)>;
  void SetOpenDashboard(OpenPage open) { open_dashboard_ = std::move(open); }

  // ---- ApiBackend ----
  proto::Cluster Cluster() override;
  void Refresh(const std::vector<std::string>& hosts, std::function<void()> done) override;
  absl::StatusOr<proto::ListHostsReply> Hosts(const proto::ListHostsRequest& request) override;
  absl::StatusOr<proto::WhyReply> Why(const std::string& host) override;
  EventLog& events() override { return controller_.events(); }
  void Wake(const proto::WakeRequest& request, HostDone done) override;
  void Suspend(const std::string& host, HostDone done) override;
  void Release(const std::string& host, HostDone done) override;
  absl::StatusOr<proto::JoinReply> Join(const proto::JoinRequest& request, Done on_end) override;
  void Leave(const std::string& host) override;
  absl::StatusOr<proto::AddPeerReply> AddPeer(const proto::AddPeerRequest& request) override;
  absl::StatusOr<proto::PeerInfo> RemovePeer(const std::string& name) override;
  proto::ListPeersReply ListPeers() override;
  absl::StatusOr<proto::DashboardReply> OpenDashboard(
      const proto::DashboardRequest& request) override;
  void Down(bool force, Done done) override;

  // ---- Controller::Observer ----
  void OnTransition(const Transition& transition) override;
  void OnWakeOver(HostId host, absl::string_view reason) override;
  void OnAnswer(HostId host) override;

 private:
  struct Refreshing {
    absl::flat_hash_set<HostId> hosts;  // that have not answered
    std::function<void()> done;
    EventLoop::Timer timer;
  };

  enum class Goal { kUp, kPaused, kReleased };
  struct Waiter {
    HostId host;
    Goal goal;
    HostDone done;
    EventLoop::Timer timer;
  };

  static bool Reached(Goal goal, HostState state);
  absl::StatusOr<HostId> Find(const std::string& name) const;
  // The host; or, of a service with replicas, all of them. Empty: there is none.
  std::vector<HostId> FindAll(const std::string& name) const;
  proto::HostInfo Describe(HostId host) const;
  // kNever: as long as it takes.
  void Wait(HostId host, Goal goal, Duration bound, HostDone done);
  // Takes those out that `match`es and answers them.
  void Finish(const std::function<bool(const Waiter&)>& match,
              const absl::StatusOr<proto::HostInfo>& answer);

  Controller& controller_;
  std::list<Waiter> waiters_;
  std::list<Refreshing> refreshing_;
  std::vector<Done> downs_;
  std::function<void()> on_down_;
  OpenPage open_dashboard_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_CLUSTER_API_H_
