// Support for tests (in a file of this name so that it is built into them
// alone): see virtual_cluster.h.

#include <gtest/gtest.h>

#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/ip_build.h"
#include "orchestrator/virtual_cluster.h"

namespace im::orchestrator {
namespace {

using std::chrono::milliseconds;

IpAddress FromProtoBytes(const std::string& bytes) {
  return IpAddress::FromBytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

}  // namespace

VirtualInstance::VirtualInstance(VirtualCluster& cluster, const proto::StartRequest& request,
                                 const Endpoint& endpoint)
    : cluster_(cluster),
      id_{request.host(), request.incarnation()},
      address_(FromProtoBytes(request.address())),
      gateway_address_(FromProtoBytes(request.gateway_address())),
      dual_stack_(request.network6().empty()
                      ? DualStack()
                      : DualStack(IpPrefix(FromProtoBytes(request.network6()),
                                           DualStack::kPrefixLength))),
      endpoint_(endpoint),
      stop_grace_(milliseconds(request.program().stop_grace_ms())),
      gateway_key_(*tunnel::PublicKey::FromBytes(request.gateway_public_key())),
      device_(*tunnel::PrivateKey::FromBytes(request.private_key()), {}, cluster.clock(),
              cluster.random(), this),
      agent_(address_, gateway_address_, request.incarnation()) {
  agent_.status().set_program_pid(2);
  if (request.has_healthcheck()) agent_.status().set_not_ready("it is tested");
  agent_.on_desired = [this](const proto::DesiredState& desired) { OnDesired(desired); };
  agent_.on_peer = [this](const IpAddress& address, const proto::PeerUpdate& update) {
    OnPeer(address, update);
  };
  tunnel::PeerConfig gateway;
  gateway.public_key = gateway_key_;
  gateway.endpoint = Endpoint::Parse(request.gateway_endpoint());
  gateway.allowed_ips = {IpPrefix(address_, static_cast<int>(request.prefix_length()))};
  if (dual_stack_.on()) gateway.allowed_ips.push_back(dual_stack_.network());
  gateway.relay = true;
  IM_CHECK(device_.SetPeer(gateway, cluster_.Now(), out_).ok());
}

void VirtualInstance::Connect() {
  device_.Connect(gateway_key_, cluster_.Now(), out_);
  Collect();
  RepeatStatus();
}

void VirtualInstance::OnSessionUp(const tunnel::PublicKey& peer) {
  if (peer != gateway_key_) return;
  cluster_.loop().Post([this, &cluster = cluster_, id = id_] {
    if (cluster.instances_.contains(id)) Say(agent_.SayAgain());
  });
}

void VirtualInstance::RepeatStatus() {
  repeat_ = cluster_.loop().After(milliseconds(50), [this] {
    if (!agent_.acknowledged()) Say(agent_.Repeat());
    RepeatStatus();
  });
}

void VirtualInstance::Collect() {
  cluster_.Collect(endpoint_, out_, [this](PacketBatch batch) { OnInside(std::move(batch)); });
}

void VirtualInstance::Send(const std::vector<uint8_t>& packet) {
  PacketBatch batch = SinglePacket(packet);
  device_.OnInsidePackets(batch, cluster_.Now(), out_);
  Collect();
}

void VirtualInstance::Say(const std::vector<uint8_t>& status) { Send(status); }

void VirtualInstance::SendSyn(const IpAddress& to, uint16_t from_port, uint32_t isn) {
  const IpAddress own = to.is_v4() ? address_ : dual_stack_.ToV6(address_);
  Send(BuildTcp({own, from_port}, {to, 80},
                {.sequence = isn, .flags = kTcpSyn, .window = 64'000}));
}

bool VirtualInstance::Direct(const IpAddress& peer) const {
  const std::optional<tunnel::PublicKey> route = device_.Route(peer);
  return route.has_value() && *route != gateway_key_;
}

void VirtualInstance::OnInside(PacketBatch batch) {
  for (const Packet& packet : batch) OnPacket({packet.data, packet.data + packet.size});
}

void VirtualInstance::OnPacket(const std::vector<uint8_t>& bytes) {
  const std::optional<IpView> view = ParseIp(bytes);
  ASSERT_TRUE(view.has_value());
  if (view->source == gateway_address_ && view->is_udp() &&
      view->destination_port == kControlPort) {
    for (const auto& answer : agent_.Take(bytes)) Send(answer);
    return;
  }
  if (exited_ && view->is_syn()) {
    PacketBatch refusal = SinglePacket(*BuildRefusal(bytes, RefusalKind::kPort));
    device_.SendTo(gateway_key_, refusal, cluster_.Now(), out_);
    return Collect();
  }
  if (stopping_) return;  // the program is gone
  if (paused_) {
    paused_ = false;
    agent_.status().set_thaws(agent_.status().thaws() + 1);
    *agent_.status().mutable_wake_cause() = ToProto(CauseOfPacket(*view));
    Say(agent_.Say(proto::InstanceStatus::RUNNING));
  }
  inbox.push_back(bytes);
  if (view->is_rst()) ++resets;
  if (view->is_syn()) {
    ++syns;
    Send(BuildTcp({view->destination, view->destination_port}, {view->source, view->source_port},
                  {.sequence = 1000,
                   .acknowledgment = view->tcp_sequence + 1,
                   .flags = kTcpSyn | kTcpAck,
                   .window = 64'000}));
  } else if (view->is_tcp() && (view->tcp_flags & kTcpSyn) != 0) {
    ++syn_acks;
  }
}

void VirtualInstance::BecomeReady() {
  agent_.status().clear_not_ready();
  Say(agent_.Say(proto::InstanceStatus::RUNNING));
}

void VirtualInstance::Pause() {
  paused_ = true;
  Say(agent_.Say(proto::InstanceStatus::PAUSED));
}

void VirtualInstance::Exit(int exit_code) {
  if (std::exchange(stopping_, true)) return;
  exited_ = exit_code;
  agent_.status().set_program_pid(0);
  Say(agent_.Say(proto::InstanceStatus::RELEASING));
}

void VirtualInstance::OnDesired(const proto::DesiredState& desired) {
  if (exited_ && desired.goal() == proto::DesiredState::RELEASE) {
    proto::ExitReport report;
    report.set_reason(proto::ExitReport::EXITED);
    report.set_exit_code(*exited_);
    cluster_.loop().Post([&cluster = cluster_, id = id_, report] {
      cluster.EndInstance(id, report);
    });
  }
  if (stopping_) return;  // there is no way back
  proto::InstanceStatus& status = agent_.status();
  if (status.state() == proto::InstanceStatus::RELEASE_REFUSED) {
    status.set_state(proto::InstanceStatus::RUNNING);
  }
  if (desired.suspend_requests() > suspends_) {
    paused_ = true;
    status.set_state(proto::InstanceStatus::PAUSED);
  }
  if (desired.wake_requests() > wakes_ && paused_) {
    paused_ = false;
    status.set_thaws(status.thaws() + 1);
    status.set_state(proto::InstanceStatus::RUNNING);
    *status.mutable_wake_cause() = desired.wake_cause();
  }
  suspends_ = desired.suspend_requests();
  wakes_ = desired.wake_requests();
  if (desired.goal() == proto::DesiredState::RUN) return;
  ++releases_asked;
  if (desired.goal() == proto::DesiredState::RELEASE_IF_IDLE && (refuse_release || !paused_)) {
    paused_ = false;
    status.set_state(proto::InstanceStatus::RELEASE_REFUSED);
    return;
  }
  status.set_state(proto::InstanceStatus::RELEASING);
  Stop();
}

void VirtualInstance::Stop() {
  if (std::exchange(stopping_, true)) return;
  stop_ = cluster_.loop().After(
      cluster_.behaviour[id_.host].stop, [&cluster = cluster_, id = id_] {
        proto::ExitReport report;
        report.set_reason(proto::ExitReport::RELEASED);
        cluster.EndInstance(id, report);
      });
}

void VirtualInstance::OnPeer(const IpAddress& address, const proto::PeerUpdate& update) {
  if (exited_) return;
  if (const auto it = peers_.find(address); it != peers_.end()) {
    device_.RemovePeer(it->second);
    peers_.erase(it);
  }
  if (update.withdrawn()) return;
  tunnel::PeerConfig peer;
  peer.public_key = *tunnel::PublicKey::FromBytes(update.public_key());
  peer.endpoint = Endpoint::Parse(update.endpoint());
  peer.allowed_ips = dual_stack_.HostPrefixes(address);
  peer.standby = true;
  peers_[address] = peer.public_key;
  IM_CHECK(device_.SetPeer(peer, cluster_.Now(), out_).ok());
  device_.Connect(peer.public_key, cluster_.Now(), out_);
}

}  // namespace im::orchestrator
