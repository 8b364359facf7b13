// What a stock WireGuard is told to join a cluster: the text of wg-quick(8), which the
// apps for phones and desktops read as well.

#ifndef IM_ORCHESTRATOR_CLI_PEER_CONFIG_H_
#define IM_ORCHESTRATOR_CLI_PEER_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "base/ip_address.h"

namespace im::orchestrator::cli {

// How the peer's system is told which resolver knows the hosts' names.
enum class PeerDns {
  kLine,        // DNS =: every app; wg-quick calls resolvconf for it
  kResolvectl,  // PostUp: names of the cluster alone are asked there; systemd-resolved
  kNone,
};

// The peer keeps its mapping in a NAT open, so that hosts reach it after a silence. Seconds.
inline constexpr int kPeerKeepalive = 25;

struct PeerConfig {
  std::string cluster;
  std::string name;
  std::string address;
  std::string address6;        // empty: IPv4 alone, as network6
  std::string private_key;     // base64, as all keys
  std::string public_key;
  std::string preshared_key;   // empty: none
  std::string gateway_public_key;
  std::string endpoint;        // of the gateway: HOST:PORT
  std::string network;
  std::string network6;
  std::string resolver;
  std::string domain;
  uint32_t mtu = 1420;
  PeerDns dns = PeerDns::kLine;

  // `comments`: with a word to people.
  std::string ToText(bool comments) const;
  std::string ToJson() const;
};

// "vpn.example.org", "192.0.2.1:51820", "fd00::1", "[fd00::1]:51820" → HOST:PORT.
absl::StatusOr<std::string> CompleteEndpoint(const std::string& text, uint16_t port);

// The address of this machine that others most likely reach it by: that of its default
// route, else the first IPv4 address that is neither loopback nor of `network`.
std::optional<IpAddress> OwnAddress(const IpPrefix& network);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_PEER_CONFIG_H_
