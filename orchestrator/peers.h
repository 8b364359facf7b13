// Peers: people's machines that join the network with a stock WireGuard.
//
// A laptop, a phone or another machine knows one peer, the gateway, whose AllowedIPs are
// the whole network (README.md, "How it works"). So its packets come to the gateway,
// which wakes hosts for them as for anybody's, and forwards both ways; introductions are
// for our own ends. Packets to it are made to fit the MTU that it was told, and their
// checksums are made (PeerConfig::fit_mtu): it is no end of ours that would trust us.
//
// A peer stays until it is removed, whatever happens to imd and the cluster: what it was
// told must stay true. So its address, and the gateway's key and port, are in a file of the
// cluster's data directory, which is there while there are peers. The client makes the
// peer's key pair; the private key never comes here.
//
//   Add      checked, made known to the tunnel and to the gateway's routes, saved; what
//            cannot be saved is undone
//   Restore  the same for those of the file. One whose name or address is a host's now is
//            set aside: kept, and listed with its problem, but not let in
//   Remove   cut off at once; then saved
//
// No more than what `tunnel` and `gateway` do; no IO but by the function of SetSave.

#ifndef IM_ORCHESTRATOR_PEERS_H_
#define IM_ORCHESTRATOR_PEERS_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/dual_stack.h"
#include "base/ip_address.h"
#include "base/status.h"
#include "orchestrator/address_pool.h"
#include "orchestrator/checked_file.h"
#include "orchestrator/gateway.h"
#include "orchestrator/host_table.h"
#include "orchestrator/names/name_index.h"
#include "orchestrator/tunnel_edge.h"
#include "proto/api.pb.h"
#include "proto/state.pb.h"

namespace im::orchestrator {

// Peers of a cluster: each is a machine that somebody configured by hand. One more is
// refused.
inline constexpr size_t kPeersMax = 1000;

// Owned by the loop's thread.
class Peers {
 public:
  // Only `peers` of the message is filled in.
  using Save = std::function<absl::Status(proto::SavedPeers saved, Durability durability)>;

  // All must outlive it.
  Peers(const IpPrefix& network, const DualStack& dual_stack, AddressPool& addresses,
        HostTable& hosts, names::NameIndex& names, TunnelEdge& tunnel, Gateway& gateway,
        const Clock& clock);

  void SetSave(Save save) { save_ = std::move(save); }

  // Those of an earlier imd. Each that was heard from is spoken to: else it would go on for
  // 15 s with a session that is no more ([W] 6.5).
  void Restore(const proto::SavedPeers& saved);

  // InvalidArgument: the request; AlreadyExists: the name, address or key is taken;
  // ResourceExhausted: no address is left, or kPeersMax. Nothing has changed then.
  absl::StatusOr<proto::PeerInfo> Add(const proto::AddPeerRequest& request);
  // NotFound names those that there are. With any other error it is cut off all the same.
  absl::StatusOr<proto::PeerInfo> Remove(const std::string& name);
  // By name.
  std::vector<proto::PeerInfo> List() const;

  // The tunnel has a session with the peer, if it is one: saves where it is.
  void OnSessionUp(const tunnel::PublicKey& key);

 private:
  struct Peer {
    std::string name;
    tunnel::PublicKey key;
    tunnel::PresharedKey preshared_key;  // zero: none
    IpAddress address;
    std::string endpoint;  // where it was when that was saved last
    int64_t added_unix_nanos = 0;
    std::string problem;   // not empty: set aside
  };

  // Reserves what the peer needs, and lets it in.
  absl::Status LetIn(const Peer& peer);
  void CutOff(const Peer& peer);
  absl::StatusOr<IpAddress> ChooseAddress(const std::string& wish);
  proto::PeerInfo Describe(const Peer& peer) const;
  absl::Status SaveAll(Durability durability);

  const IpPrefix network_;
  const DualStack dual_stack_;
  AddressPool& addresses_;
  HostTable& hosts_;
  names::NameIndex& names_;
  TunnelEdge& tunnel_;
  Gateway& gateway_;
  const Clock& clock_;
  Save save_;
  std::map<std::string, Peer> peers_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_PEERS_H_
