#include "orchestrator/agent/control_client.h"

#include <algorithm>

namespace im::agent {
namespace {

// Whether figures differ enough to be told: a host at rest should be silent.
bool TellsSomethingNew(const proto::InstanceStatus& a, const proto::InstanceStatus& b) {
  constexpr uint64_t kCpuNs = 1'000'000;
  const uint64_t memory_step = std::max<uint64_t>(a.memory_bytes() / 16, 1 << 20);
  const auto drops = [](const proto::InstanceStatus& status) {
    uint64_t sum = 0;
    for (const auto& [reason, count] : status.drops()) sum += count;
    return sum;
  };
  const auto differ = [](uint64_t x, uint64_t y, uint64_t by) { return x > y ? x - y >= by : y - x >= by; };
  return a.inside_rx_bytes() != b.inside_rx_bytes() || a.inside_tx_bytes() != b.inside_tx_bytes() ||
         a.held_packets() != b.held_packets() || a.direct_peers() != b.direct_peers() ||
         a.listening() != b.listening() || drops(a) != drops(b) || differ(a.cpu_ns(), b.cpu_ns(), kCpuNs) ||
         differ(a.memory_bytes(), b.memory_bytes(), memory_step);
}

}  // namespace

void ControlClient::OnConnected(Instant now) {
  connected_ = true;
  // An orchestrator that was started anew knows nothing of acknowledgments
  // that its predecessor gave.
  status_.set_version(status_.version() + 1);
  repeat_after_ = kFirstRepeat;
  Send(now);
}

void ControlClient::Publish(const proto::InstanceStatus& status, Instant now) {
  const uint64_t version = status_.version() + 1;
  status_ = status;
  status_.set_version(version);
  status_.set_acknowledged_desired(desired_.version());
  repeat_after_ = kFirstRepeat;
  Send(now);
}

bool ControlClient::Refresh(const proto::InstanceStatus& status, Instant now) {
  if (!TellsSomethingNew(status_, status)) return false;
  Publish(status, now);
  return true;
}

void ControlClient::Send(Instant now) {
  sent_at_ = now;
  if (!connected_) return;
  proto::ToOrchestrator message;
  message.set_incarnation(incarnation_);
  *message.mutable_status() = status_;
  delegate_.SendControl(message.SerializeAsString());
}

Instant ControlClient::NextDeadline() const {
  if (!connected_ || acknowledged()) return kNever;
  return sent_at_ + repeat_after_;
}

void ControlClient::OnTimer(Instant now) {
  if (now < NextDeadline()) return;
  repeat_after_ = std::min(repeat_after_ * 2, kLastRepeat);
  Send(now);
}

void ControlClient::OnMessage(std::span<const uint8_t> payload) {
  proto::ToAgent message;
  if (!message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return;
  if (message.incarnation() != incarnation_) return;
  // An acknowledgment of what was never sent is none.
  if (message.acknowledged_status() <= status_.version())
    acknowledged_ = std::max(acknowledged_, message.acknowledged_status());
  if (message.peers_size() > 0) OnPeers(message);
  if (message.has_desired() && message.desired().version() > desired_.version()) {
    desired_ = message.desired();
    delegate_.OnDesired(desired_);
  }
}

void ControlClient::OnPeers(const proto::ToAgent& message) {
  proto::ToOrchestrator answer;
  answer.set_incarnation(incarnation_);
  for (const proto::PeerUpdate& update : message.peers()) {
    const std::string& address = update.address();
    answer.add_acknowledged_peers(update.version());
    if (address.size() != 4 && address.size() != 16) continue;
    const IpAddress peer = IpAddress::FromBytes(
        {reinterpret_cast<const uint8_t*>(address.data()), address.size()});
    uint64_t& version = peer_versions_[peer];
    if (update.version() <= version) continue;
    version = update.version();
    delegate_.OnPeer(peer, update);
  }
  delegate_.SendControl(answer.SerializeAsString());
}

}  // namespace im::agent
