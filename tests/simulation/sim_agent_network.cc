// SimAgent: its tunnel, and what comes out of it.

#include <algorithm>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/ip_build.h"
#include "orchestrator/cause.h"
#include "orchestrator/control_channel.h"
#include "orchestrator/packet_use.h"
#include "tests/simulation/sim_agent.h"

namespace im::simulation {
namespace {

using orchestrator::kControlPort;

// direct_peers.h
constexpr Duration kReconnectAfter = std::chrono::seconds(5);

std::span<const uint8_t> Payload(const IpView& view, const std::vector<uint8_t>& bytes) {
  return std::span(bytes).subspan(view.payload_offset, view.payload_size());
}

}  // namespace

void SimAgent::ConnectGateway() {
  connect_at_ = world_.Now() + kHandshakeRepeat;
  delegate_.HandshakeToGateway(*this);
}

void SimAgent::OnHandshakeOfGateway(uint64_t imd) { OnGatewayAnswers(imd); }

void SimAgent::OnGatewayAnswers(uint64_t imd) {
  connect_at_ = gateway_silent_since_ = kNever;
  const bool fresh = std::exchange(imd_, imd) != imd;
  gateway_seen_ = true;
  for (const std::vector<uint8_t>& bytes : std::exchange(waiting_, {})) SendByGateway(bytes);
  if (fresh) JoinControl();
  BeginRestoreIfReady();
}

void SimAgent::JoinControl() {
  if (!gateway_seen_ || !program_) return;
  if (!control_.connected()) control_.Publish(MakeStatus(), world_.Now());
  control_.OnConnected(world_.Now());
}

void SimAgent::SendByGateway(const std::vector<uint8_t>& bytes) {
  if (imd_ == 0) {
    waiting_.push_back(bytes);
    return;
  }
  if (gateway_silent_since_ == kNever) gateway_silent_since_ = world_.Now();
  delegate_.ToGateway(*this, imd_, bytes);
}

void SimAgent::ConnectPeer(const IpAddress& address) {
  const auto it = peers_.find(address);
  if (it == peers_.end() || it->second.up) return;
  it->second.asked_at = world_.Now();
  SimAgent* const other = delegate_.FindAgent(it->second.key);
  const Node to = other == nullptr ? kImd : other->node();
  if (other == nullptr) return;
  world_.Carry(node_, to, [&d = delegate_, from = node_, to, address] {
    SimAgent* const there = d.FindAgent(to);
    SimAgent* const here = d.FindAgent(from);
    if (there == nullptr || here == nullptr || there->ended_) return;
    // Who was not introduced is not answered.
    const auto known = there->peers_.find(here->address_);
    if (known == there->peers_.end() || known->second.key != here->key_) return;
    known->second.up = true;
    known->second.silent_since = kNever;
    d.world().Carry(to, from, [&d, from, to] {
      SimAgent* const a = d.FindAgent(from);
      SimAgent* const b = d.FindAgent(to);
      if (a == nullptr || b == nullptr) return;
      const auto peer = a->peers_.find(b->address_);
      if (peer == a->peers_.end() || peer->second.key != b->key_) return;
      peer->second.up = true;
      peer->second.silent_since = kNever;
    });
  });
}

void SimAgent::Send(const std::vector<uint8_t>& packet) {
  const std::optional<IpView> view = ParseIp(packet);
  const Instant now = world_.Now();
  const IpAddress to = dual_stack_.Plain(view->destination);
  const bool heartbeat =
      group_ && group_->IsFellow(to) && !group_->OnFellow(to, false, packet.size(), now);
  if (!heartbeat && !ended_) {
    detector_.OnUse(now);
    if (may_be_woken() && !paused_) Wake({});
  }
  const auto it = peers_.find(to);
  if (it == peers_.end()) return SendByGateway(packet);
  Peer& peer = it->second;
  if (peer.up && peer.silent_since != kNever && now - peer.silent_since > kSilenceMax)
    peer.up = false;  // the session is lost
  if (!peer.up) {
    if (now - peer.asked_at >= kReconnectAfter) ConnectPeer(to);
    return SendByGateway(packet);
  }
  if (peer.silent_since == kNever) peer.silent_since = now;
  SimAgent* const other = delegate_.FindAgent(peer.key);
  if (other == nullptr) {
    // Its socket is gone, or somebody else's.
    delegate_.OnLost(*this, packet, /*idle=*/false);
    return;
  }
  world_.Carry(node_, other->node(), [&d = delegate_, to = other->node(), key = key_, packet] {
    if (SimAgent* there = d.FindAgent(to)) there->OnDirectPacket(key, packet);
  });
}

void SimAgent::OnDirectPacket(const tunnel::PublicKey& from, const std::vector<uint8_t>& bytes) {
  const auto it = std::find_if(peers_.begin(), peers_.end(), [&](const auto& entry) {
    return entry.second.key == from;
  });
  if (it == peers_.end()) return;  // no session with it any more
  it->second.silent_since = kNever;
  // A keepalive says that it was received.
  if (SimAgent* sender = delegate_.FindAgent(from)) {
    world_.Carry(node_, sender->node(), [&d = delegate_, to = sender->node(), a = address_] {
      SimAgent* const back = d.FindAgent(to);
      if (back == nullptr) return;
      if (const auto p = back->peers_.find(a); p != back->peers_.end())
        p->second.silent_since = kNever;
    });
  }
  OnInside(bytes);
}

void SimAgent::OnPacket(uint64_t imd, const std::vector<uint8_t>& bytes) {
  if (imd != imd_) return;  // of no session
  gateway_silent_since_ = kNever;
  OnInside(bytes);
}

void SimAgent::OnInside(const std::vector<uint8_t>& bytes) {
  const std::optional<IpView> view = ParseIp(bytes);
  IM_CHECK(view.has_value());
  if (view->source == gateway_ && view->is_udp() && view->destination_port == kControlPort) {
    control_.OnMessage(Payload(*view, bytes));
    return;
  }
  const Instant now = world_.Now();
  if (ended_) {
    if (keeps_ || (view->is_syn() && report_.reason() == proto::ExitReport::RELEASED))
      return delegate_.OnLost(*this, bytes, released_as_idle_);
    // Its kernel refuses, by way of the gateway.
    if (const auto refusal = BuildRefusal(bytes, RefusalKind::kPort)) SendByGateway(*refusal);
    return;
  }
  if (stopping_) return delegate_.OnLost(*this, bytes, released_as_idle_);
  const IpAddress from = dual_stack_.Plain(view->source);
  const bool heartbeat =
      group_ && group_->IsFellow(from) && !group_->OnFellow(from, true, bytes.size(), now);
  if (!heartbeat && orchestrator::UseOfPacket(*view) == orchestrator::PacketUse::kWakes) {
    detector_.OnUse(now);
    if (may_be_woken()) Wake(orchestrator::ToProto(orchestrator::CauseOfPacket(*view)));
  }
  if (keeps_) {
    kept_.push_back(bytes);
    return;
  }
  ToKernel(bytes);
  if (!paused_) ReadAll();
}

}  // namespace im::simulation
