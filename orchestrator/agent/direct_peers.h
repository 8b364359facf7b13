// DirectPeers: the hosts that this one has been introduced to.
//
// Each is a standby peer of the tunnel: its /32 carries packets only while a
// session with it is up, and until then, and after, the gateway does. A
// session that expired for want of traffic is asked for again when there is
// traffic for that host, at most once in kReconnectAfter.

#ifndef IM_ORCHESTRATOR_AGENT_DIRECT_PEERS_H_
#define IM_ORCHESTRATOR_AGENT_DIRECT_PEERS_H_

#include <chrono>
#include <cstddef>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"
#include "base/ip_address.h"
#include "proto/agent.pb.h"
#include "tunnel/driver.h"

namespace im::agent {

class DirectPeers {
 public:
  static constexpr Duration kReconnectAfter = std::chrono::seconds(5);

  // `driver` must outlive it.
  explicit DirectPeers(tunnel::Driver& driver) : driver_(driver) {}

  // Newer than all before for this address.
  void Apply(const IpAddress& address, const proto::PeerUpdate& update, Instant now);
  void OnSession(const tunnel::PublicKey& key, bool up);

  // False: packets need not be shown.
  bool any_down() const { return up_ < peers_.size(); }
  // A packet leaves for `destination`.
  void OnPacketTo(const IpAddress& destination, Instant now);

  size_t up() const { return up_; }

 private:
  struct Peer {
    tunnel::PublicKey key;
    bool up = false;
    Instant asked_at;
  };
  void Remove(const IpAddress& address);

  tunnel::Driver& driver_;
  absl::flat_hash_map<IpAddress, Peer> peers_;
  absl::flat_hash_map<tunnel::PublicKey, IpAddress> addresses_;
  size_t up_ = 0;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_DIRECT_PEERS_H_
