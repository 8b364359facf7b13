// A model of the agent's side of the control messages, for tests: takes
// ToAgent packets, answers with ToOrchestrator packets.

#ifndef IM_ORCHESTRATOR_TEST_AGENT_H_
#define IM_ORCHESTRATOR_TEST_AGENT_H_

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/ip_build.h"
#include "base/ip_header.h"
#include "orchestrator/control_channel.h"
#include "proto/agent.pb.h"

namespace im::orchestrator {

class TestAgent {
 public:
  struct Peer {
    std::string key;
    std::string endpoint;
  };

  TestAgent(const IpAddress& address, const IpAddress& gateway, uint64_t incarnation)
      : address_(address), gateway_(gateway), incarnation_(incarnation) {}

  // What the agent says now, numbered anew.
  std::vector<uint8_t> Say(proto::InstanceStatus::State state) {
    status_.set_state(state);
    return SayAgain();
  }
  std::vector<uint8_t> SayAgain() {
    status_.set_version(status_.version() + 1);
    return Repeat();
  }
  std::vector<uint8_t> Repeat() const {
    proto::ToOrchestrator message;
    message.set_incarnation(incarnation_);
    *message.mutable_status() = status_;
    return Wrap(message);
  }

  // Takes one packet; returns the answers.
  std::vector<std::vector<uint8_t>> Take(std::span<const uint8_t> packet) {
    const std::optional<IpView> view = ParseIp(packet);
    if (!view.has_value() || !view->is_udp() || view->destination_port != kControlPort) return {};
    largest_ = std::max<size_t>(largest_, view->payload_size());
    proto::ToAgent message;
    if (!message.ParseFromArray(packet.data() + view->payload_offset, view->payload_size()) ||
        message.incarnation() != incarnation_) {
      return {};
    }
    std::vector<std::vector<uint8_t>> answers;
    acknowledged_ = std::max(acknowledged_, message.acknowledged_status());
    if (message.peers_size() > 0) answers.push_back(TakePeers(message));
    if (message.has_desired() && message.desired().version() > desired_.version()) {
      desired_ = message.desired();
      if (on_desired) on_desired(desired_);
      status_.set_acknowledged_desired(desired_.version());
      answers.push_back(SayAgain());
    } else if (message.has_desired()) {
      answers.push_back(Repeat());
    }
    return answers;
  }

  // Called for a newer desired state, before it is answered.
  std::function<void(const proto::DesiredState&)> on_desired;
  // Called for a newer update of a peer.
  std::function<void(const IpAddress&, const proto::PeerUpdate&)> on_peer;

  bool acknowledged() const { return acknowledged_ >= status_.version(); }
  const std::map<IpAddress, Peer>& peers() const { return peers_; }
  const proto::DesiredState& desired() const { return desired_; }
  proto::InstanceStatus& status() { return status_; }
  size_t largest_message() const { return largest_; }

 private:
  std::vector<uint8_t> TakePeers(const proto::ToAgent& message) {
    proto::ToOrchestrator answer;
    answer.set_incarnation(incarnation_);
    for (const proto::PeerUpdate& update : message.peers()) {
      answer.add_acknowledged_peers(update.version());
      const IpAddress address = IpAddress::FromBytes(
          {reinterpret_cast<const uint8_t*>(update.address().data()), update.address().size()});
      if (update.version() <= versions_[address]) continue;
      versions_[address] = update.version();
      if (on_peer) on_peer(address, update);
      if (update.withdrawn()) {
        peers_.erase(address);
      } else {
        peers_[address] = {update.public_key(), update.endpoint()};
      }
    }
    return Wrap(answer);
  }

  std::vector<uint8_t> Wrap(const proto::ToOrchestrator& message) const {
    const std::string bytes = message.SerializeAsString();
    return BuildUdp({address_, kControlPort}, {gateway_, kControlPort},
                    {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  }

  const IpAddress address_;
  const IpAddress gateway_;
  const uint64_t incarnation_;
  proto::InstanceStatus status_;
  proto::DesiredState desired_;
  uint64_t acknowledged_ = 0;
  std::map<IpAddress, Peer> peers_;
  std::map<IpAddress, uint64_t> versions_;
  size_t largest_ = 0;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_TEST_AGENT_H_
