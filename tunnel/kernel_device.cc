#include "tunnel/kernel_device.h"

#include <errno.h>
#include <netinet/in.h>

#include <chrono>
#include <cstring>
#include <deque>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "tunnel/constants.h"

extern "C" {
#include "wireguard.h"
}

namespace im::tunnel {
namespace {

template <typename Flags>
void AddFlag(Flags& flags, Flags flag) {
  flags = static_cast<Flags>(flags | flag);
}

wg_device NamedDevice(const std::string& name) {
  wg_device device = {};
  std::strncpy(device.name, name.c_str(), sizeof(device.name) - 1);
  return device;
}

absl::Status Apply(wg_device& device, absl::string_view what) {
  if (wg_set_device(&device) == 0) return absl::OkStatus();
  return ErrnoStatus(absl::StrCat("set ", what, " of kernel WireGuard interface ", device.name),
                     errno);
}

absl::Status ApplyPeer(const std::string& name, wg_peer& peer) {
  wg_device device = NamedDevice(name);
  device.first_peer = device.last_peer = &peer;
  return Apply(device, "a peer");
}

// The list that the library wants; it points into itself.
std::deque<wg_allowedip> ListOf(const std::vector<IpPrefix>& prefixes) {
  std::deque<wg_allowedip> list;
  for (const IpPrefix& prefix : prefixes) {
    wg_allowedip one = {};
    one.family = prefix.is_v4() ? AF_INET : AF_INET6;
    const std::span<const uint8_t> bytes = prefix.address().bytes();
    std::memcpy(prefix.is_v4() ? static_cast<void*>(&one.ip4) : &one.ip6, bytes.data(),
                bytes.size());
    one.cidr = static_cast<uint8_t>(prefix.length());
    list.push_back(one);
    if (list.size() > 1) list[list.size() - 2].next_allowedip = &list.back();
  }
  return list;
}

IpPrefix PrefixOf(const wg_allowedip& allowed_ip) {
  if (allowed_ip.family == AF_INET) {
    return {IpAddress::V4(ntohl(allowed_ip.ip4.s_addr)), allowed_ip.cidr};
  }
  return {IpAddress::FromBytes({allowed_ip.ip6.s6_addr, sizeof(allowed_ip.ip6.s6_addr)}),
          allowed_ip.cidr};
}

PeerStatus StatusOf(const wg_peer& peer) {
  PeerStatus status;
  std::memcpy(status.public_key.bytes.data(), peer.public_key, kKeyBytes);
  std::memcpy(status.preshared_key.bytes().data(), peer.preshared_key, kKeyBytes);
  if (peer.endpoint.addr.sa_family == AF_INET || peer.endpoint.addr.sa_family == AF_INET6) {
    sockaddr_storage address = {};
    std::memcpy(&address, &peer.endpoint, sizeof(peer.endpoint));
    status.endpoint = Endpoint::FromSockaddr(address);
  }
  for (const wg_allowedip* a = peer.first_allowedip; a != nullptr; a = a->next_allowedip) {
    status.allowed_ips.push_back(PrefixOf(*a));
  }
  status.persistent_keepalive = std::chrono::seconds(peer.persistent_keepalive_interval);
  status.last_handshake_unix_nanos =
      peer.last_handshake_time.tv_sec * kNanosPerSecond + peer.last_handshake_time.tv_nsec;
  status.rx_bytes = peer.rx_bytes;
  status.tx_bytes = peer.tx_bytes;
  const auto age = std::chrono::system_clock::now().time_since_epoch() -
                   std::chrono::nanoseconds(status.last_handshake_unix_nanos);
  status.session_live = status.last_handshake_unix_nanos != 0 && age < kRejectAfterTime;
  return status;
}

}  // namespace

absl::StatusOr<KernelDevice> KernelDevice::Create(const std::string& name) {
  const int error = -wg_add_device(name.c_str());
  if (error == 0) return KernelDevice(name);
  const std::string attempt = absl::StrCat("make kernel WireGuard interface ", name);
  if (error == EOPNOTSUPP || error == EPROTONOSUPPORT || error == EAFNOSUPPORT) {
    return absl::UnimplementedError(absl::StrCat(attempt, ": this kernel has no WireGuard"));
  }
  return ErrnoStatus(attempt, error);
}

absl::Status KernelDevice::SetPrivateKey(const PrivateKey& key) {
  wg_device device = NamedDevice(name_);
  AddFlag(device.flags, WGDEVICE_HAS_PRIVATE_KEY);
  std::memcpy(device.private_key, key.bytes().data(), kKeyBytes);
  const absl::Status status = Apply(device, "the key");
  explicit_bzero(device.private_key, sizeof(device.private_key));
  return status;
}

absl::Status KernelDevice::SetListenPort(uint16_t port) {
  wg_device device = NamedDevice(name_);
  AddFlag(device.flags, WGDEVICE_HAS_LISTEN_PORT);
  device.listen_port = port;
  return Apply(device, "the port");
}

absl::Status KernelDevice::SetFwmark(uint32_t fwmark) {
  wg_device device = NamedDevice(name_);
  AddFlag(device.flags, WGDEVICE_HAS_FWMARK);
  device.fwmark = fwmark;
  return Apply(device, "the mark");
}

absl::Status KernelDevice::SetPeer(const PeerConfig& config) {
  if (config.standby || config.receive_only || config.relay) {
    return absl::UnimplementedError("set a peer of kernel WireGuard: standby, receive_only or relay");
  }
  std::deque<wg_allowedip> allowed_ips = ListOf(config.allowed_ips);
  wg_peer peer = {};
  for (const wg_peer_flags flag : {WGPEER_HAS_PUBLIC_KEY, WGPEER_HAS_PRESHARED_KEY,
                                   WGPEER_REPLACE_ALLOWEDIPS,
                                   WGPEER_HAS_PERSISTENT_KEEPALIVE_INTERVAL}) {
    AddFlag(peer.flags, flag);
  }
  std::memcpy(peer.public_key, config.public_key.bytes.data(), kKeyBytes);
  std::memcpy(peer.preshared_key, config.preshared_key.bytes().data(), kKeyBytes);
  peer.persistent_keepalive_interval =
      static_cast<uint16_t>(config.persistent_keepalive.count());
  if (config.endpoint) {
    sockaddr_storage address;
    config.endpoint->ToSockaddr(address);
    std::memcpy(&peer.endpoint, &address, sizeof(peer.endpoint));
  }
  if (!allowed_ips.empty()) {
    peer.first_allowedip = &allowed_ips.front();
    peer.last_allowedip = &allowed_ips.back();
  }
  const absl::Status status = ApplyPeer(name_, peer);
  explicit_bzero(peer.preshared_key, sizeof(peer.preshared_key));
  return status;
}

absl::Status KernelDevice::RemovePeer(const PublicKey& key) {
  wg_peer peer = {};
  AddFlag(peer.flags, WGPEER_HAS_PUBLIC_KEY);
  AddFlag(peer.flags, WGPEER_REMOVE_ME);
  std::memcpy(peer.public_key, key.bytes.data(), kKeyBytes);
  return ApplyPeer(name_, peer);
}

absl::StatusOr<KernelDevice::State> KernelDevice::Get() const {
  wg_device* found = nullptr;
  if (wg_get_device(&found, name_.c_str()) != 0) {
    return ErrnoStatus(absl::StrCat("read kernel WireGuard interface ", name_), errno);
  }
  const std::unique_ptr<wg_device, void (*)(wg_device*)> device(found, wg_free_device);
  State state;
  std::memcpy(state.public_key.bytes.data(), device->public_key, kKeyBytes);
  state.listen_port = device->listen_port;
  state.fwmark = device->fwmark;
  for (const wg_peer* peer = device->first_peer; peer != nullptr; peer = peer->next_peer) {
    state.peers.push_back(StatusOf(*peer));
  }
  return state;
}

absl::Status KernelDevice::Remove() {
  const int error = -wg_del_device(name_.c_str());
  if (error == 0 || error == ENODEV) return absl::OkStatus();
  return ErrnoStatus(absl::StrCat("remove kernel WireGuard interface ", name_), error);
}

}  // namespace im::tunnel
