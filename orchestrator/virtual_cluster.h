// VirtualCluster: imd's controller, its tunnel and instances with tunnels of
// their own, all in memory and in virtual time, for tests.
//
// Real: Controller and everything below it, tunnel::Device at both ends, the
// EventLoop. Made up: the wire (a delay, losses by seed), the provider and the
// instances (TestAgent for the control messages; programs answer a SYN with
// SYN+ACK and count what else comes). imd can be killed and started again
// while the instances live on.

#ifndef IM_ORCHESTRATOR_VIRTUAL_CLUSTER_H_
#define IM_ORCHESTRATOR_VIRTUAL_CLUSTER_H_

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/random.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/controller.h"
#include "orchestrator/provider.h"
#include "orchestrator/test_agent.h"
#include "orchestrator/tunnel_edge.h"
#include "proto/state.pb.h"
#include "tunnel/device.h"

namespace im::orchestrator {

class VirtualCluster;

// One running instance: agent, tunnel and program.
class VirtualInstance : private tunnel::Device::Delegate {
 public:
  VirtualInstance(VirtualCluster& cluster, const proto::StartRequest& request,
                  const Endpoint& endpoint);

  // ---- what the program does ----
  void Send(const std::vector<uint8_t>& packet);
  // To another host's address, of either family, from the same.
  void SendSyn(const IpAddress& to, uint16_t from_port, uint32_t isn = 1);

  // Its healthcheck, if it has one, succeeds.
  void BecomeReady();
  void Pause();
  // The program ends by itself; its kernel refuses what still comes. Gone when
  // the orchestrator has said so.
  void Exit(int exit_code);
  bool paused() const { return paused_; }
  // Whether packets to `peer` go there directly.
  bool Direct(const IpAddress& peer) const;

  // Packets other than control messages that came, newest last.
  std::vector<std::vector<uint8_t>> inbox;
  size_t syns = 0;
  size_t syn_acks = 0;
  size_t resets = 0;
  bool refuse_release = false;  // "there was use"
  int releases_asked = 0;

  const InstanceId& id() const { return id_; }
  const IpAddress& address() const { return address_; }
  const Endpoint& endpoint() const { return endpoint_; }
  tunnel::Device& device() { return device_; }
  TestAgent& agent() { return agent_; }
  Duration stop_grace() const { return stop_grace_; }

 private:
  friend class VirtualCluster;
  void OnSessionUp(const tunnel::PublicKey& peer) override;
  void OnSessionDown(const tunnel::PublicKey&) override {}
  void Connect();
  void Collect();
  void Stop();
  void OnInside(PacketBatch batch);
  void OnPacket(const std::vector<uint8_t>& bytes);
  void OnDesired(const proto::DesiredState& desired);
  void OnPeer(const IpAddress& address, const proto::PeerUpdate& update);
  void Say(const std::vector<uint8_t>& status);
  void RepeatStatus();

  VirtualCluster& cluster_;
  const InstanceId id_;
  const IpAddress address_;
  const IpAddress gateway_address_;
  const DualStack dual_stack_;
  const Endpoint endpoint_;
  const Duration stop_grace_;
  const tunnel::PublicKey gateway_key_;
  tunnel::Device device_;
  tunnel::Outbox out_;
  TestAgent agent_;
  std::map<IpAddress, tunnel::PublicKey> peers_;
  bool paused_ = false;
  bool stopping_ = false;
  std::optional<int> exited_;
  uint64_t suspends_ = 0;
  uint64_t wakes_ = 0;
  EventLoop::Timer repeat_;
  EventLoop::Timer stop_;
};

class VirtualCluster {
 public:
  // What the provider does with a host; by default instances come up 2 ms
  // after their start and end 5 ms after they were told to.
  struct Behaviour {
    Duration start = std::chrono::milliseconds(2);
    Duration stop = std::chrono::milliseconds(5);
    std::optional<proto::ExitReport> start_fails;
    bool never_answers = false;
  };

  explicit VirtualCluster(const std::string& yaml, uint64_t seed = 1);
  ~VirtualCluster();

  // ---- imd ----
  void StartImd();
  // As by SIGKILL: nothing but the saved state is left of it.
  void KillImd();
  bool imd_runs() const { return controller_ != nullptr; }
  Controller& controller() { return *controller_; }
  HostId Id(const std::string& host) const { return *hosts_->FindByName(host); }
  IpAddress AddressOf(const std::string& host) const { return spec_.FindHost(host)->address; }
  // Preconditions: the spec has network.ipv6.
  IpAddress Address6Of(const std::string& host) const {
    return spec_.dual_stack.ToV6(AddressOf(host));
  }
  HostState StateOf(const std::string& host) const { return (*hosts_)[Id(host)].state; }
  absl::Status Wake(const std::string& host);
  // A packet from the gateway's own stack, and what came back to it.
  void SendFromStack(const std::vector<uint8_t>& packet);
  std::vector<std::vector<uint8_t>> stack_inbox;
  const proto::SavedState& saved() const { return saved_; }
  bool saves = true;  // false: it has no time for it

  // ---- instances ----
  // nullptr: none lives.
  VirtualInstance* Find(const std::string& host);
  // As by SIGKILL.
  void KillInstance(const std::string& host);
  // Runs an agent for a guest.
  VirtualInstance& RunGuest(const proto::JoinReply& reply);
  void EndInstance(const InstanceId& id, const proto::ExitReport& report);
  std::map<std::string, Behaviour> behaviour;
  int starts = 0;

  // ---- time ----
  Instant Now() const { return clock_.Now(); }
  void RunFor(Duration duration);
  // False: it was not so within `bound`.
  bool RunUntil(const std::function<bool()>& done, Duration bound = std::chrono::seconds(60));
  double loss = 0;  // share of the datagrams that are lost
  EventLoop& loop() { return *loop_; }
  Random& random() { return random_; }
  const Clock& clock() const { return clock_; }
  const std::string& state_dir() const { return state_dir_; }

 private:
  friend class VirtualInstance;
  class Edge;
  class FakeProvider;
  class StackSink;
  struct Datagram {
    Endpoint from;
    Endpoint to;
    std::vector<uint8_t> bytes;
  };

  // Puts what is in `out` on the wire; hands `out.inside` to `inside`.
  void Collect(const Endpoint& from, tunnel::Outbox& out,
               const std::function<void(PacketBatch)>& inside);
  void Arrive(const Datagram& datagram);
  void CollectGateway();
  void Step();
  Instant NextEvent();
  VirtualInstance& AddInstance(const proto::StartRequest& request);
  VirtualInstance* FindByEndpoint(const Endpoint& endpoint);

  ManualClock clock_;
  SeededRandom random_;
  std::unique_ptr<EventLoop> loop_;
  ClusterSpec spec_;
  std::string state_dir_;
  tunnel::PrivateKey gateway_key_;
  Endpoint gateway_endpoint_;
  proto::SavedState saved_;
  uint64_t life_ = 0;
  std::multimap<Instant, Datagram> wire_;
  std::map<InstanceId, std::unique_ptr<VirtualInstance>> instances_;
  std::map<InstanceId, proto::ExitReport> ended_;  // nobody was told yet
  std::vector<std::unique_ptr<VirtualInstance>> buried_;
  uint16_t next_port_ = 2000;

  // imd
  std::unique_ptr<HostTable> hosts_;
  std::unique_ptr<tunnel::Device> device_;
  tunnel::Outbox out_;
  std::unique_ptr<Edge> edge_;
  std::unique_ptr<FakeProvider> provider_;
  std::unique_ptr<StackSink> stack_;
  std::unique_ptr<Controller> controller_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_VIRTUAL_CLUSTER_H_
