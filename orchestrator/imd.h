// Imd: the orchestrator of one cluster, put together.
//
// One loop, one thread: tunnel, gateway, lwIP for what the gateway itself
// says, controller, provider, published ports. The API's threads only post to
// it.

#ifndef IM_ORCHESTRATOR_IMD_H_
#define IM_ORCHESTRATOR_IMD_H_

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/event_loop.h"
#include "base/random.h"
#include "netstack/net.h"
#include "orchestrator/api_server.h"
#include "orchestrator/cluster_api.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/controller.h"
#include "orchestrator/host_table.h"
#include "orchestrator/port_publisher.h"
#include "orchestrator/providers/process_provider.h"
#include "orchestrator/state_dir.h"
#include "orchestrator/store.h"
#include "orchestrator/tunnel_edge.h"
#include "tunnel/driver.h"

namespace im::orchestrator {

class Imd {
 public:
  // Ready to serve when it returns: tunnel and published ports are bound, the
  // API answers, and the instances of an earlier imd are being taken back.
  static absl::StatusOr<std::unique_ptr<Imd>> Start(ClusterSpec spec, StateDir dir);
  ~Imd();
  Imd(const Imd&) = delete;
  Imd& operator=(const Imd&) = delete;

  // Until the cluster is down.
  void Run() { loop_->Run(); }
  // Releases all hosts, then ends Run(). Thread: the loop's.
  void Down(bool force);
  EventLoop& loop() { return *loop_; }

 private:
  // The tunnel exists before the gateway that takes what comes out of it.
  struct Inside final : PacketSink {
    void Write(PacketBatch batch) override {
      if (gateway != nullptr) gateway->Write(std::move(batch));
    }
    Gateway* gateway = nullptr;
  };

  Imd(ClusterSpec spec, StateDir dir);
  absl::Status Init();
  absl::Status OpenTunnel(const proto::SavedState* saved);
  absl::Status OpenStack();
  absl::Status OpenPorts();

  const ClusterSpec spec_;
  const StateDir dir_;
  const Store store_;
  RealClock clock_;
  SecureRandom random_;
  std::unique_ptr<EventLoop> loop_;
  HostTable hosts_;
  Inside inside_;
  std::unique_ptr<tunnel::Driver> driver_;
  std::unique_ptr<DriverEdge> edge_;
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<ProcessProvider> provider_;
  std::unique_ptr<netstack::Stack> stack_;
  std::vector<std::unique_ptr<PortPublisher>> ports_;
  std::unique_ptr<ClusterApi> api_;
  std::unique_ptr<ApiServer> server_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_IMD_H_
