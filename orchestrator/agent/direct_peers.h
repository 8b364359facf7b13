// DirectPeers: the hosts that this one has been introduced to.
//
// Each is a standby peer of the tunnel: its addresses carry packets only while a
// session with it is up, and until then, and after, the gateway does. A
// session that expired for want of traffic is asked for again when there is
// traffic for that host, at most once in kReconnectAfter.
//
// One that is withdrawn gets nothing from then on, and may send for kWithdrawalTakes
// still: the two ends of a path hear of it one after the other, and what the later one
// has sent meanwhile is not lost.
//
// What was sent to them is told with the host's figures, as totals, of the
// kToldMax that were sent to last: whom it talks to now is among them.

#ifndef IM_ORCHESTRATOR_AGENT_DIRECT_PEERS_H_
#define IM_ORCHESTRATOR_AGENT_DIRECT_PEERS_H_

#include <chrono>
#include <cstddef>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "base/dual_stack.h"
#include "base/ip_address.h"
#include "proto/agent.pb.h"
#include "tunnel/driver.h"

namespace im::agent {

class DirectPeers {
 public:
  static constexpr Duration kReconnectAfter = std::chrono::seconds(5);
  static constexpr Duration kWithdrawalTakes = std::chrono::seconds(30);
  static constexpr size_t kToldMax = 24;  // half a kilobyte of a status

  // `driver` must outlive it.
  explicit DirectPeers(tunnel::Driver& driver, const DualStack& dual_stack = {})
      : driver_(driver), dual_stack_(dual_stack) {}

  // Newer than all before for this address.
  void Apply(const IpAddress& address, const proto::PeerUpdate& update, Instant now);
  void OnSession(const tunnel::PublicKey& key, bool up);

  // False: packets need not be shown.
  bool any_down() const { return up_ < peers_.size(); }
  // A packet leaves for `destination`, an address of either family.
  void OnPacketTo(const IpAddress& destination, Instant now);

  size_t up() const { return up_; }
  // Adds them to a status that is made at `now`.
  void Describe(Instant now, proto::InstanceStatus& status);

 private:
  struct Peer {
    tunnel::PublicKey key;
    bool up = false;
    Instant asked_at;
    uint64_t sent_bytes = 0;  // as it was found by Describe
    Instant sent_at;          // when it was first found so
  };
  struct Withdrawn {
    tunnel::PublicKey key;
    Instant until;
  };
  using Peers = absl::flat_hash_map<IpAddress, Peer>;
  void Withdraw(Peers::iterator peer, Instant now);
  void ForgetWithdrawn(Instant now);

  tunnel::Driver& driver_;
  const DualStack dual_stack_;
  Peers peers_;
  absl::flat_hash_map<IpAddress, Withdrawn> withdrawn_;
  absl::flat_hash_map<tunnel::PublicKey, IpAddress> addresses_;
  size_t up_ = 0;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_DIRECT_PEERS_H_
