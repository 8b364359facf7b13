// Support for tests (in a file of this name so that it is built into them
// alone): see virtual_cluster.h.

#include "orchestrator/virtual_cluster.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "orchestrator/host_setup.h"

namespace im::orchestrator {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr Duration kWireDelay = microseconds(50);
const IpAddress kPeersLoopback = IpAddress::V4(0x7f000001);

}  // namespace

// ---- imd's edges ------------------------------------------------------------

class VirtualCluster::Edge final : public TunnelEdge {
 public:
  explicit Edge(VirtualCluster& cluster) : cluster_(cluster) {}
  absl::Status SetPeer(const tunnel::PeerConfig& peer) override {
    const absl::Status status = cluster_.device_->SetPeer(peer, cluster_.Now(), cluster_.out_);
    cluster_.CollectGateway();
    return status;
  }
  void RemovePeer(const tunnel::PublicKey& peer) override { cluster_.device_->RemovePeer(peer); }
  void Connect(const tunnel::PublicKey& peer) override {
    cluster_.device_->Connect(peer, cluster_.Now(), cluster_.out_);
    cluster_.CollectGateway();
  }
  void SendTo(const tunnel::PublicKey& peer, PacketBatch batch) override {
    cluster_.device_->SendTo(peer, batch, cluster_.Now(), cluster_.out_);
    cluster_.CollectGateway();
  }
  std::optional<Endpoint> EndpointOf(const tunnel::PublicKey& peer) const override {
    const auto status = cluster_.device_->GetPeer(peer);
    return status.has_value() ? status->endpoint : std::nullopt;
  }
  std::optional<tunnel::PeerStatus> StatusOf(const tunnel::PublicKey& peer) const override {
    return cluster_.device_->GetPeer(peer);
  }
  DropCounters Drops() const override { return cluster_.device_->drops(); }

 private:
  VirtualCluster& cluster_;
};

class VirtualCluster::StackSink final : public PacketSink {
 public:
  explicit StackSink(VirtualCluster& cluster) : cluster_(cluster) {}
  void Write(PacketBatch batch) override {
    for (const Packet& packet : batch) {
      cluster_.stack_inbox.push_back({packet.data, packet.data + packet.size});
    }
  }

 private:
  VirtualCluster& cluster_;
};

class VirtualCluster::FakeProvider final : public Provider {
 public:
  explicit FakeProvider(VirtualCluster& cluster) : cluster_(cluster) {}

  void Start(const proto::StartRequest& request, const StartOptions&) override {
    const InstanceId id{request.host(), request.incarnation()};
    if (!known_.insert(id).second) return;
    ++cluster_.starts;
    const Behaviour& behaviour = cluster_.behaviour[id.host];
    Hold(behaviour.start, [&cluster = cluster_, request, id] {
      if (cluster.ended_.contains(id)) return;  // killed before it began
      const Behaviour& b = cluster.behaviour[id.host];
      if (b.start_fails.has_value()) return cluster.EndInstance(id, *b.start_fails);
      if (b.never_answers) return;
      cluster.AddInstance(request);
    });
    cluster_.loop_->Post([&cluster = cluster_, id] {
      if (cluster.provider_ && cluster.provider_->known_.contains(id)) {
        cluster.controller_->OnStarted(id, {.agent_pid = 1, .agent_start_ticks = 1});
      }
    });
  }
  void Adopt(const InstanceId& id, const InstanceHandle&, const std::string&) override {
    known_.insert(id);
    if (cluster_.instances_.contains(id)) return;
    const proto::ExitReport report = cluster_.ended_[id];
    cluster_.loop_->Post([&cluster = cluster_, id, report] { cluster.EndInstance(id, report); });
  }
  void EndOthers(const std::string&) override {}
  void Release(const InstanceId& id, Duration, bool force) override {
    if (!known_.contains(id)) return;
    if (force) {
      cluster_.loop_->Post([&cluster = cluster_, id] {
        proto::ExitReport report;
        report.set_message("killed");
        cluster.EndInstance(id, report);
      });
    } else if (const auto it = cluster_.instances_.find(id); it != cluster_.instances_.end()) {
      it->second->Stop();
    }
  }
  void Forget(const InstanceId& id) override { known_.erase(id); }
  std::optional<InstanceHandle> Describe(const InstanceId& id) const override {
    if (!known_.contains(id)) return std::nullopt;
    return InstanceHandle{1, 1};
  }
  InstanceHandle HandleOf(uint32_t agent_pid) const override { return {agent_pid, 1}; }
  Capabilities capabilities() const override { return {}; }

  bool Ended(const InstanceId& id) { return known_.erase(id) > 0; }

 private:
  // What goes on also when imd is killed meanwhile.
  void Hold(Duration delay, std::function<void()> callback) {
    auto timer = std::make_shared<EventLoop::Timer>();
    *timer = cluster_.loop_->After(delay, [timer, callback = std::move(callback)] { callback(); });
  }

  VirtualCluster& cluster_;
  absl::flat_hash_set<InstanceId> known_;
};

// ---- VirtualCluster ---------------------------------------------------------

VirtualCluster::VirtualCluster(const std::string& yaml, uint64_t seed)
    : random_(seed), gateway_key_(tunnel::GeneratePrivateKey(random_)) {
  ParsedClusterSpec parsed = ParseClusterSpec(yaml, "test.yaml", "/");
  for (const Diagnostic& error : parsed.errors) ADD_FAILURE() << error.ToString();
  IM_CHECK(parsed.spec.has_value());
  spec_ = *std::move(parsed.spec);
  loop_ = *EventLoop::Create(clock_);
  gateway_endpoint_ = {kPeersLoopback, 1000};
  state_dir_ = absl::StrCat(testing::TempDir(), "/im-virtual-", getpid());
  std::filesystem::create_directories(state_dir_ + "/hosts");
  StartImd();
}

VirtualCluster::~VirtualCluster() {
  if (imd_runs()) KillImd();
  instances_.clear();
  buried_.clear();
  std::filesystem::remove_all(state_dir_);
}

void VirtualCluster::StartImd() {
  IM_CHECK(!imd_runs());
  hosts_ = std::make_unique<HostTable>();
  IM_CHECK(AddHosts(spec_, Now(), *hosts_).ok());
  device_ = std::make_unique<tunnel::Device>(gateway_key_, tunnel::Device::Options(), clock_,
                                             random_, nullptr);
  edge_ = std::make_unique<Edge>(*this);
  Controller::Options options;
  options.state_dir = state_dir_;
  options.gateway_key = device_->public_key();
  options.gateway_endpoint = gateway_endpoint_;
  options.life = ++life_;
  options.first_incarnation = FirstIncarnation(saved_, life_);
  controller_ =
      std::make_unique<Controller>(options, spec_, *hosts_, *loop_, random_, *edge_);
  provider_ = std::make_unique<FakeProvider>(*this);
  stack_ = std::make_unique<StackSink>(*this);
  controller_->SetProvider(provider_.get());
  controller_->SetSave([this](const proto::SavedState& state) {
    if (saves) saved_ = state;
  });
  controller_->gateway().SetStack(stack_.get());
  controller_->Restore(saved_);
  controller_->Save();
  controller_->Begin();
}

void VirtualCluster::KillImd() {
  controller_.reset();
  provider_.reset();
  stack_.reset();
  edge_.reset();
  device_.reset();
  out_.datagrams.Clear();
  out_.inside.Clear();
  hosts_.reset();
}

absl::Status VirtualCluster::Wake(const std::string& host) {
  return controller_->Wake(Id(host), MakeCause(Cause::Kind::kUser));
}

void VirtualCluster::SendFromStack(const std::vector<uint8_t>& packet) {
  controller_->gateway().from_stack().Write(SinglePacket(packet));
}

VirtualInstance* VirtualCluster::Find(const std::string& host) {
  VirtualInstance* newest = nullptr;
  for (const auto& [id, instance] : instances_) {
    if (id.host == host) newest = instance.get();  // in order of incarnations
  }
  return newest;
}

VirtualInstance* VirtualCluster::FindByEndpoint(const Endpoint& endpoint) {
  for (const auto& [id, instance] : instances_) {
    if (instance->endpoint() == endpoint) return instance.get();
  }
  return nullptr;
}

VirtualInstance& VirtualCluster::AddInstance(const proto::StartRequest& request) {
  const InstanceId id{request.host(), request.incarnation()};
  // Nothing is ever started twice.
  for (const auto& [other, instance] : instances_) EXPECT_NE(other.host, id.host);
  auto instance =
      std::make_unique<VirtualInstance>(*this, request, Endpoint{kPeersLoopback, next_port_++});
  VirtualInstance& added = *(instances_[id] = std::move(instance));
  added.Connect();
  return added;
}

VirtualInstance& VirtualCluster::RunGuest(const proto::JoinReply& reply) {
  proto::StartRequest request;
  IM_CHECK(request.ParseFromString(reply.start_request()));
  return AddInstance(request);
}

void VirtualCluster::KillInstance(const std::string& host) {
  VirtualInstance* instance = Find(host);
  IM_CHECK(instance != nullptr);
  proto::ExitReport report;
  report.set_reason(proto::ExitReport::EXITED);
  report.set_signal(9);
  report.set_message("im-agent was killed by signal 9");
  EndInstance(InstanceId(instance->id()), report);
}

void VirtualCluster::EndInstance(const InstanceId& id, const proto::ExitReport& report) {
  if (const auto it = instances_.find(id); it != instances_.end()) {
    buried_.push_back(std::move(it->second));
    instances_.erase(it);
  }
  ended_[id] = report;
  if (provider_ != nullptr && provider_->Ended(id)) controller_->OnEnded(id, report);
}

// ---- the wire and time ------------------------------------------------------

void VirtualCluster::Collect(const Endpoint& from, tunnel::Outbox& out,
                             const std::function<void(PacketBatch)>& inside) {
  for (const tunnel::DatagramRun& run : out.datagrams.runs()) {
    for (size_t at = 0; at < run.bytes.size(); at += run.segment_size) {
      const auto one =
          run.bytes.subspan(at, std::min<size_t>(run.segment_size, run.bytes.size() - at));
      if (loss > 0 && random_.Below(1000) < loss * 1000) continue;
      wire_.emplace(Now() + kWireDelay, Datagram{from, run.peer, {one.begin(), one.end()}});
    }
  }
  out.datagrams.Clear();
  if (out.inside.empty()) return;
  PacketBatch batch = std::exchange(out.inside, PacketBatch());
  inside(std::move(batch));
}

void VirtualCluster::CollectGateway() {
  Collect(gateway_endpoint_, out_,
          [this](PacketBatch batch) { controller_->gateway().Write(std::move(batch)); });
}

void VirtualCluster::Arrive(const Datagram& datagram) {
  tunnel::DatagramBatch batch;
  batch.AddCopy(datagram.from, datagram.bytes);
  if (datagram.to == gateway_endpoint_) {
    if (device_ == nullptr) return;
    device_->OnDatagrams(batch, Now(), out_);
    CollectGateway();
  } else if (VirtualInstance* instance = FindByEndpoint(datagram.to)) {
    instance->device_.OnDatagrams(batch, Now(), instance->out_);
    instance->Collect();
  }
}

Instant VirtualCluster::NextEvent() {
  Instant next = loop_->NextDeadline();
  if (!wire_.empty()) next = std::min(next, wire_.begin()->first);
  if (device_ != nullptr) next = std::min(next, device_->NextDeadline());
  for (const auto& [id, instance] : instances_) {
    next = std::min(next, instance->device_.NextDeadline());
  }
  return next;
}

void VirtualCluster::Step() {
  // What is posted and what is asked for at the end of a turn may ask for more.
  constexpr int kTurns = 4;
  for (int i = 0; i < kTurns; ++i) loop_->RunOnce(Duration(0));
  buried_.clear();
  while (!wire_.empty() && wire_.begin()->first <= Now()) {
    const Datagram datagram = std::move(wire_.begin()->second);
    wire_.erase(wire_.begin());
    Arrive(datagram);
    loop_->RunOnce(Duration(0));
  }
  if (device_ != nullptr && device_->NextDeadline() <= Now()) {
    device_->OnTimer(Now(), out_);
    CollectGateway();
  }
  for (const auto& [id, instance] : instances_) {
    if (instance->device_.NextDeadline() > Now()) continue;
    instance->device_.OnTimer(Now(), instance->out_);
    instance->Collect();
  }
  for (int i = 0; i < kTurns; ++i) loop_->RunOnce(Duration(0));
}

bool VirtualCluster::RunUntil(const std::function<bool()>& done, Duration bound) {
  const Instant end = Now() + bound;
  while (true) {
    Step();
    if (done()) return true;
    const Instant next = std::max(NextEvent(), Now() + microseconds(1));
    if (next > end) {
      clock_.Advance(end - Now());
      return false;
    }
    clock_.Advance(next - Now());
  }
}

void VirtualCluster::RunFor(Duration duration) {
  (void)RunUntil([] { return false; }, duration);
}

}  // namespace im::orchestrator
