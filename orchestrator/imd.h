// Imd: one cluster's orchestrator, put together out of its parts.
//
// It owns everything that is real: the UDP socket of the gateway's tunnel, the
// network stack with the gateway's address, the published ports, the process
// provider, the state file and the API socket. What decides is Controller.
//
// All on the loop's thread (gRPC's threads only post to it).

#ifndef IM_ORCHESTRATOR_IMD_H_
#define IM_ORCHESTRATOR_IMD_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/random.h"
#include "netstack/net.h"
#include "orchestrator/api_server.h"
#include "orchestrator/cluster_api.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/controller.h"
#include "orchestrator/metrics_server.h"
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
  absl::Status RemoveState() { return store_.Remove(); }

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

  Imd(Options options, EventLoop& loop, Random& random);
  absl::Status Init();
  absl::Status OpenTunnel(const std::optional<proto::SavedState>& saved);
  absl::Status OpenStack();
  absl::Status OpenPublishedPorts();
  absl::Status OpenMetrics();
  void Save(proto::SavedState state);

  Options options_;
  EventLoop& loop_;
  Random& random_;
  Store store_;
  HostTable hosts_;
  tunnel::PrivateKey key_;
  InsideSink inside_;
  std::unique_ptr<tunnel::Driver> driver_;
  std::optional<DriverEdge> edge_;
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<Provider> provider_;
  std::unique_ptr<netstack::Stack> stack_;
  std::vector<std::unique_ptr<PortPublisher>> ports_;
  std::unique_ptr<ClusterApi> api_;
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<MetricsServer> metrics_;
  bool save_failed_ = false;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_IMD_H_
