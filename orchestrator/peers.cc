#include "orchestrator/peers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "orchestrator/spec/host_parser.h"
#include "orchestrator/start_requests.h"

namespace im::orchestrator {

Peers::Peers(const IpPrefix& network, const DualStack& dual_stack, AddressPool& addresses,
             HostTable& hosts, names::NameIndex& names, TunnelEdge& tunnel, Gateway& gateway,
             const Clock& clock)
    : network_(network),
      dual_stack_(dual_stack),
      addresses_(addresses),
      hosts_(hosts),
      names_(names),
      tunnel_(tunnel),
      gateway_(gateway),
      clock_(clock) {}

absl::Status Peers::LetIn(const Peer& peer) {
  if (hosts_.FindByName(peer.name).has_value()) {
    return absl::AlreadyExistsError(absl::StrCat(peer.name, " is the name of a host"));
  }
  if (!addresses_.IsUsable(peer.address)) {
    return absl::InvalidArgumentError(absl::StrCat(
        peer.address.ToString(), " is no address for a machine in ", network_.ToString()));
  }
  if (!addresses_.Reserve(peer.address)) {
    return absl::AlreadyExistsError(
        absl::StrCat("the address ", peer.address.ToString(), " is taken by ",
                     hosts_.NameOf(peer.address)));
  }
  tunnel::PeerConfig config;
  config.public_key = peer.key;
  config.preshared_key = peer.preshared_key;
  config.endpoint = Endpoint::Parse(peer.endpoint);
  config.allowed_ips = dual_stack_.HostPrefixes(peer.address);
  config.fit_mtu = true;
  if (absl::Status status = tunnel_.SetPeer(config); !status.ok()) {
    addresses_.Release(peer.address);
    return status;
  }
  gateway_.AddRoute(peer.address, peer.key);
  hosts_.NamePeer(peer.address, peer.name);
  if (config.endpoint) tunnel_.Connect(peer.key);
  return absl::OkStatus();
}

void Peers::CutOff(const Peer& peer) {
  if (!peer.problem.empty()) return;
  tunnel_.RemovePeer(peer.key);
  gateway_.RemoveRoute(peer.address);
  hosts_.ForgetPeer(peer.address);
  addresses_.Release(peer.address);
}

void Peers::Restore(const proto::SavedPeers& saved) {
  for (const proto::SavedPeer& one : saved.peers()) {
    const auto key = tunnel::PublicKey::FromBytes(one.public_key());
    const auto preshared = tunnel::PresharedKey::FromBytes(one.preshared_key());
    const std::string& address = one.address();
    if (!key || (!preshared && !one.preshared_key().empty()) || address.size() != 4) {
      IM_LOG(kWarning, "what is saved of peer ", one.name(), " cannot be read; left out");
      continue;
    }
    Peer peer{.name = one.name(),
              .key = *key,
              .preshared_key = preshared.value_or(tunnel::PresharedKey()),
              .address = IpAddress::FromBytes(
                  {reinterpret_cast<const uint8_t*>(address.data()), address.size()}),
              .endpoint = one.endpoint(),
              .added_unix_nanos = one.added_unix_nanos(),
              .problem = ""};
    if (absl::Status status = LetIn(peer); !status.ok()) {
      peer.problem = std::string(status.message());
      IM_LOG(kWarning, "peer ", peer.name, " cannot join: ", peer.problem);
    }
    peers_.emplace(peer.name, std::move(peer));
  }
}

absl::StatusOr<IpAddress> Peers::ChooseAddress(const std::string& wish) {
  if (!wish.empty()) {
    const std::optional<IpAddress> address = IpAddress::Parse(wish);
    if (!address.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("\"", wish, "\" is no IP address"));
    }
    // Its IPv6 address names it as well.
    return dual_stack_.Plain(*address);
  }
  // LetIn takes it for good.
  const std::optional<IpAddress> address = addresses_.TakeHighest();
  if (!address.has_value()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the network ", network_.ToString(), " has no address left"));
  }
  addresses_.Release(*address);
  return *address;
}

absl::StatusOr<proto::PeerInfo> Peers::Add(const proto::AddPeerRequest& request) {
  if (!IsHostName(request.name())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", request.name(), "\" cannot be a name (lower-case letters, digits, - and _)"));
  }
  if (peers_.contains(request.name())) {
    return absl::AlreadyExistsError(absl::StrCat("there is a peer ", request.name(),
                                                 " already; im peer remove ", request.name(),
                                                 " removes it"));
  }
  // A host's or a guest's own name is LetIn's to refuse, also when it comes to be later.
  if (!hosts_.FindByName(request.name()).has_value() && names_.Find(request.name()).has_value()) {
    return absl::AlreadyExistsError(
        absl::StrCat(request.name(), " is the name of a service, or an alias, in cluster.yaml"));
  }
  if (peers_.size() >= kPeersMax) {
    return absl::ResourceExhaustedError(absl::StrCat("there are ", kPeersMax, " peers already"));
  }
  const auto key = tunnel::PublicKey::FromBytes(request.public_key());
  const auto preshared = tunnel::PresharedKey::FromBytes(request.preshared_key());
  if (!key || (!preshared && !request.preshared_key().empty())) {
    return absl::InvalidArgumentError("a key has 32 bytes");
  }
  // Of an instance as well.
  if (tunnel_.StatusOf(*key).has_value()) {
    return absl::AlreadyExistsError("this public key is in use");
  }
  Peer peer{.name = request.name(),
            .key = *key,
            .preshared_key = preshared.value_or(tunnel::PresharedKey()),
            .address = {},
            .endpoint = "",
            .added_unix_nanos = clock_.UnixNanos(),
            .problem = ""};
  IM_ASSIGN_OR_RETURN(peer.address, ChooseAddress(request.address()));
  IM_RETURN_IF_ERROR(LetIn(peer));
  const auto it = peers_.emplace(peer.name, peer).first;
  if (absl::Status status = SaveAll(Durability::kMachine); !status.ok()) {
    CutOff(peer);
    peers_.erase(it);
    return Annotate(status, "the peer cannot be saved");
  }
  return Describe(peer);
}

absl::StatusOr<proto::PeerInfo> Peers::Remove(const std::string& name) {
  const auto it = peers_.find(name);
  if (it == peers_.end()) {
    std::vector<std::string> names;
    for (const auto& [known, peer] : peers_) names.push_back(known);
    return absl::NotFoundError(absl::StrCat(
        "there is no peer \"", name, "\"",
        names.empty() ? ", nor any other" : "; there are: ", absl::StrJoin(names, ", ")));
  }
  const proto::PeerInfo info = Describe(it->second);
  CutOff(it->second);
  peers_.erase(it);
  if (absl::Status status = SaveAll(Durability::kMachine); !status.ok()) {
    return Annotate(status, absl::StrCat(name, " is cut off, but comes back with the next imd"));
  }
  return info;
}

std::vector<proto::PeerInfo> Peers::List() const {
  std::vector<proto::PeerInfo> list;
  for (const auto& [name, peer] : peers_) list.push_back(Describe(peer));
  return list;
}

void Peers::OnSessionUp(const tunnel::PublicKey& key) {
  const auto it = std::find_if(peers_.begin(), peers_.end(),
                               [&](const auto& entry) { return entry.second.key == key; });
  if (it == peers_.end()) return;
  // Where it is is a hint for the next imd: not worth to wait for the disk.
  if (absl::Status status = SaveAll(Durability::kProcess); !status.ok()) {
    IM_LOG(kWarning, "where peer ", it->first, " is cannot be saved: ",
           std::string(status.message()));
  }
}

proto::PeerInfo Peers::Describe(const Peer& peer) const {
  proto::PeerInfo info;
  info.set_name(peer.name);
  info.set_address(peer.address.ToString());
  if (dual_stack_.on()) info.set_address6(dual_stack_.ToV6(peer.address).ToString());
  info.set_public_key(peer.key.ToBase64());
  info.set_preshared_key(!peer.preshared_key.is_zero());
  info.set_added_unix_nanos(peer.added_unix_nanos);
  info.set_problem(peer.problem);
  const std::optional<tunnel::PeerStatus> status =
      peer.problem.empty() ? tunnel_.StatusOf(peer.key) : std::nullopt;
  if (!status.has_value()) return info;
  if (status->endpoint) info.set_endpoint(status->endpoint->ToString());
  info.set_last_handshake_unix_nanos(status->last_handshake_unix_nanos);
  info.set_rx_bytes(status->rx_bytes);
  info.set_tx_bytes(status->tx_bytes);
  return info;
}

absl::Status Peers::SaveAll(Durability durability) {
  proto::SavedPeers saved;
  for (auto& [name, peer] : peers_) {
    if (peer.problem.empty()) {
      const std::optional<Endpoint> endpoint = tunnel_.EndpointOf(peer.key);
      if (endpoint) peer.endpoint = endpoint->ToString();
    }
    proto::SavedPeer& one = *saved.add_peers();
    one.set_name(name);
    one.set_public_key(std::string(peer.key.raw()));
    if (!peer.preshared_key.is_zero()) {
      one.set_preshared_key(std::string(peer.preshared_key.raw()));
    }
    one.set_address(AddressBytes(peer.address));
    one.set_endpoint(peer.endpoint);
    one.set_added_unix_nanos(peer.added_unix_nanos);
  }
  return save_ ? save_(std::move(saved), durability) : absl::OkStatus();
}

}  // namespace im::orchestrator
