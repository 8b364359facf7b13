// The configuration protocol of userspace WireGuard, as text: what wg(8) reads
// and writes ([X] https://www.wireguard.com/xplatform/).
//
// A request is "get=1" or "set=1", then key=value lines, then an empty line.
// The answer ends with "errno=N" and an empty line; N is 0 or a negative errno
// value. Pure parsing and formatting; uapi_server.h does the IO.

#ifndef IM_TUNNEL_UAPI_H_
#define IM_TUNNEL_UAPI_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/counters.h"
#include "base/ip_address.h"
#include "tunnel/device.h"
#include "tunnel/keys.h"
#include "tunnel/outbox.h"

namespace im::tunnel {

struct UapiAllowedIp {
  IpPrefix prefix;
  bool remove = false;  // written "-10.0.0.0/8"
};

struct UapiPeer {
  PublicKey public_key;
  bool remove = false;
  bool update_only = false;  // ignored where there is no such peer
  bool replace_allowed_ips = false;
  std::optional<PresharedKey> preshared_key;  // all zero: none
  std::optional<Endpoint> endpoint;
  std::optional<std::chrono::seconds> persistent_keepalive;
  std::vector<UapiAllowedIp> allowed_ips;
};

// What a set request asks for, in order.
struct UapiSet {
  std::optional<PrivateKey> private_key;
  std::optional<uint16_t> listen_port;
  std::optional<uint32_t> fwmark;
  bool replace_peers = false;
  std::vector<UapiPeer> peers;
};

// The lines behind "set=1", without the empty one. Nothing is taken of a
// request with an error: InvalidArgument, which names the line.
absl::StatusOr<UapiSet> ParseUapiSet(absl::string_view lines);

// Keys and peers; port and mark belong to the socket, so the caller sets them.
absl::Status ApplyUapiSet(const UapiSet& set, Device& device, Instant now, Outbox& out);

// The answer to a get request, with its "errno=0".
std::string FormatUapiGet(const Device& device, uint16_t listen_port, uint32_t fwmark);

// The answer to kUapiGetDrops: a line "drop_REASON=N" for each reason, whatever
// its count, then "errno=0". A question of ours that wg(8) never asks, so that
// nobody has to understand more keys than [X] has.
inline constexpr char kUapiGetDrops[] = "get=im_drops";
std::string FormatUapiDrops(const DropCounters& drops);

// "errno=…" for the outcome of a set request.
std::string FormatUapiErrno(const absl::Status& status);

}  // namespace im::tunnel

#endif  // IM_TUNNEL_UAPI_H_
