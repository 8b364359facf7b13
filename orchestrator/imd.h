// Imd: one cluster's orchestrator, put together out of its parts.
//
// It owns everything that is real: the UDP socket of the gateway's tunnel, the
// network stack with the gateway's addresses, the published ports, the process
// provider, the state file and the API socket. What decides is Controller.
//
// All on the loop's thread (gRPC's threads only post to it).

#ifndef IM_ORCHESTRATOR_IMD_H_
#define IM_ORCHESTRATOR_IMD_H_

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/family_split.h"
#include "base/random.h"
#include "base/restore_watch.h"
#include "netstack/net.h"
#include "orchestrator/api_server.h"
#include "orchestrator/cluster_api.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/controller.h"
#include "orchestrator/dashboard/dashboard.h"
#include "orchestrator/dashboard/dashboard_feed.h"
#include "orchestrator/metrics_server.h"
#include "orchestrator/name_server.h"
#include "orchestrator/port_publisher.h"
#include "orchestrator/provider.h"
#include "orchestrator/state_dir.h"
#include "orchestrator/store.h"
#include "orchestrator/tunnel_edge.h"
#include "tunnel/driver.h"

namespace im::orchestrator {

class Imd {
 public:
  struct Options {
    ClusterSpec spec;
    StateDir state_dir;
    std::optional<uid_t> api_owner;  // who may use the API besides our own user
    std::string agent_path;
    std::string criu;  // what takes hosts to disk; empty: none does
    std::optional<Endpoint> metrics;  // where to serve them besides the Unix socket
    std::optional<Endpoint> http;     // where to serve the page from the start
    // Called when everything is down after `im down`.
    std::function<void()> on_down;
  };

  // Takes over what an earlier imd left running. Fails without having started
  // or changed anything, with an error that names the field of the spec where
  // one is to blame. `loop` and `random` must outlive it.
  static absl::StatusOr<std::unique_ptr<Imd>> Start(Options options, EventLoop& loop,
                                                    Random& random);
  ~Imd();
  Imd(const Imd&) = delete;
  Imd& operator=(const Imd&) = delete;

  // Releases all instances, then calls `on_down`; with `force`, kills them.
  // May be called again to force.
  void Down(absl::string_view reason, bool force);
  // Everything is down: the next imd has nothing to take over.
  absl::Status RemoveState();

  Controller& controller() { return *controller_; }
  // As Prometheus reads them.
  std::string Metrics() const;

 private:
  // The tunnel must exist before the controller, which is told its port, and
  // delivers to the controller's gateway.
  class InsideSink final : public PacketSink {
   public:
    void Write(PacketBatch batch) override {
      if (gateway_ != nullptr) gateway_->Write(std::move(batch));
    }
    void SetGateway(Gateway* gateway) { gateway_ = gateway; }

   private:
    Gateway* gateway_ = nullptr;
  };

  // Peers are found anew where they were (peers.h).
  class SessionWatch final : public tunnel::Device::Delegate {
   public:
    explicit SessionWatch(Imd& imd) : imd_(imd) {}
    void OnSessionUp(const tunnel::PublicKey& peer) override;
    void OnSessionDown(const tunnel::PublicKey&) override {}

   private:
    Imd& imd_;
  };
  using SavedPeers = std::optional<proto::SavedPeers>;

  Imd(Options options, EventLoop& loop, Random& random);
  absl::Status Init();
  absl::Status OpenTunnel(const std::optional<proto::SavedState>& saved, const SavedPeers& peers);
  // The key and port that instances or peers know, if there are any.
  absl::Status ChooseIdentity(const std::optional<proto::SavedState>& saved,
                              const SavedPeers& peers, Endpoint& listen);
  absl::Status OpenStack();
  absl::Status OpenPublishedPorts();
  // Where a published port leads when the host's IPv4 address refuses; nullopt: nowhere.
  std::optional<Endpoint> ByIpv6(HostId id, uint16_t port) const;
  absl::Status OpenMetrics();
  // The dashboard costs nothing until somebody asks for it.
  absl::StatusOr<proto::DashboardReply> OpenDashboard(std::optional<Endpoint> at);
  void Save(proto::SavedState state);
  absl::StatusOr<SavedPeers> LoadPeers() const;
  absl::Status SavePeers(proto::SavedPeers saved, Durability durability);
  std::string PeersPath() const { return options_.spec.data_directory + "/peers"; }
  absl::Status LockImages();
  absl::Status TakeLayers(bool anew);

  Options options_;
  EventLoop& loop_;
  Random& random_;
  Store store_;
  std::map<std::string, FileDescriptor> images_;  // locks on their trees (image/image_store.h)
  FileDescriptor layers_;  // of hosts with images; locked; invalid: there are none
  HostTable hosts_;
  tunnel::PrivateKey key_;
  InsideSink inside_;
  SessionWatch session_watch_{*this};
  std::unique_ptr<tunnel::Driver> driver_;
  std::unique_ptr<RestoreWatch> restore_watch_;
  std::optional<DriverEdge> edge_;
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<Provider> provider_;
  std::unique_ptr<netstack::Stack> stack_;
  std::optional<FamilySplit> to_stack_;
  std::unique_ptr<NameServer> names_;
  std::vector<std::unique_ptr<PortPublisher>> ports_;
  std::unique_ptr<ClusterApi> api_;
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<MetricsServer> metrics_;
  std::unique_ptr<DashboardFeed> feed_;
  std::unique_ptr<Dashboard> dashboard_;
  bool save_failed_ = false;
  // Cleared by the destructor, so that what waits for the loop finds nobody.
  std::shared_ptr<Imd*> self_ = std::make_shared<Imd*>(this);
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_IMD_H_
