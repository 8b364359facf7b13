// ControlClient: the agent's side of the control messages, without IO.
//
// Level-triggered. Up goes the newest InstanceStatus: at once when it changed
// in substance (state, answer to a desired state, program), repeated after
// kFirstRepeat, twice that, … kLastRepeat until a ToAgent acknowledges its
// version. Figures alone (bytes, CPU, memory) are sent when they moved, by who
// calls Refresh every kRefresh. Nothing is due while the newest status is
// acknowledged, so a paused host has no timer.
//
// Down come DesiredState, of which a newer version replaces the older, and
// PeerUpdates, numbered for each address. Every message with peers is answered
// with their versions, so a lost answer is repeated when the message is.
// Messages of another incarnation, and what cannot be parsed, are ignored.

#ifndef IM_ORCHESTRATOR_AGENT_CONTROL_CLIENT_H_
#define IM_ORCHESTRATOR_AGENT_CONTROL_CLIENT_H_

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "base/ip_address.h"
#include "proto/agent.pb.h"

namespace im::agent {

class ControlClient {
 public:
  static constexpr Duration kFirstRepeat = std::chrono::milliseconds(50);
  static constexpr Duration kLastRepeat = std::chrono::seconds(4);
  static constexpr Duration kRefresh = std::chrono::seconds(2);

  class Delegate {
   public:
    virtual ~Delegate() = default;
    virtual void SendControl(const std::string& message) = 0;
    // A Publish must follow, at once or later: it acknowledges `desired`.
    virtual void OnDesired(const proto::DesiredState& desired) = 0;
    virtual void OnPeer(const IpAddress& address, const proto::PeerUpdate& update) = 0;
  };

  // `delegate` must outlive the client.
  ControlClient(uint64_t incarnation, Delegate& delegate)
      : incarnation_(incarnation), delegate_(delegate) {}

  // The way to the orchestrator is open (again): sends the status. Before the
  // first time nothing is sent.
  void OnConnected(Instant now);
  bool connected() const { return connected_; }

  // The status to send from now on; `version` and `acknowledged_desired` are
  // set here. Sends it.
  void Publish(const proto::InstanceStatus& status, Instant now);
  // The same if it tells something new. Returns whether it was sent.
  bool Refresh(const proto::InstanceStatus& status, Instant now);

  // The payload of a datagram from the gateway's control port.
  void OnMessage(std::span<const uint8_t> payload);

  // kNever while everything is acknowledged.
  Instant NextDeadline() const;
  void OnTimer(Instant now);

  bool acknowledged() const { return acknowledged_ >= status_.version(); }
  const proto::DesiredState& desired() const { return desired_; }

 private:
  void Send(Instant now);
  void OnPeers(const proto::ToAgent& message);

  const uint64_t incarnation_;
  Delegate& delegate_;
  bool connected_ = false;
  proto::InstanceStatus status_;
  uint64_t acknowledged_ = 0;
  Instant sent_at_;
  Duration repeat_after_ = kFirstRepeat;
  proto::DesiredState desired_;
  absl::flat_hash_map<IpAddress, uint64_t> peer_versions_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_CONTROL_CLIENT_H_
