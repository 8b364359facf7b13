#include "tunnel/uapi.h"

#include <errno.h>

#include <algorithm>
#include <limits>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace im::tunnel {
namespace {

// Digits alone: no sign, no spaces.
template <typename Integer>
std::optional<Integer> ParseNumber(absl::string_view text) {
  uint64_t value;
  if (text.empty() || !absl::ascii_isdigit(static_cast<unsigned char>(text[0])) ||
      !absl::SimpleAtoi(text, &value) || value > std::numeric_limits<Integer>::max()) {
    return std::nullopt;
  }
  return static_cast<Integer>(value);
}

// Takes one key=value line after the other.
class SetParser {
 public:
  // False if the line makes no sense where it stands.
  bool Line(absl::string_view key, absl::string_view value) {
    if (key == "public_key") return StartPeer(value);
    return set_.peers.empty() ? DeviceLine(key, value) : PeerLine(key, value);
  }
  UapiSet Take() { return std::move(set_); }

 private:
  bool DeviceLine(absl::string_view key, absl::string_view value) {
    if (key == "private_key") return Assign(set_.private_key, PrivateKey::FromHex(value));
    if (key == "listen_port") return Assign(set_.listen_port, ParseNumber<uint16_t>(value));
    if (key == "fwmark") {
      // Empty clears it.
      return Assign(set_.fwmark, value.empty() ? 0 : ParseNumber<uint32_t>(value));
    }
    if (key == "replace_peers") return Flag(set_.replace_peers, value);
    return false;
  }

  bool PeerLine(absl::string_view key, absl::string_view value) {
    UapiPeer& peer = set_.peers.back();
    if (key == "remove") return Flag(peer.remove, value);
    if (key == "update_only") return Flag(peer.update_only, value);
    if (key == "replace_allowed_ips") return Flag(peer.replace_allowed_ips, value);
    if (key == "preshared_key") return Assign(peer.preshared_key, PresharedKey::FromHex(value));
    if (key == "endpoint") return Assign(peer.endpoint, Endpoint::Parse(value));
    if (key == "persistent_keepalive_interval") {
      const std::optional<uint16_t> interval_s = ParseNumber<uint16_t>(value);
      if (interval_s) peer.persistent_keepalive = std::chrono::seconds(*interval_s);
      return interval_s.has_value();
    }
    if (key == "allowed_ip") {
      const bool remove = absl::ConsumePrefix(&value, "-");
      if (!remove) absl::ConsumePrefix(&value, "+");
      const std::optional<IpPrefix> prefix = IpPrefix::Parse(value);
      if (prefix) peer.allowed_ips.push_back({*prefix, remove});
      return prefix.has_value();
    }
    return key == "protocol_version" && value == "1";
  }

  bool StartPeer(absl::string_view value) {
    const std::optional<PublicKey> key = PublicKey::FromHex(value);
    if (key) set_.peers.emplace_back().public_key = *key;
    return key.has_value();
  }

  static bool Flag(bool& flag, absl::string_view value) {
    flag = value == "true";
    return flag || value == "false";
  }

  template <typename Value>
  static bool Assign(std::optional<Value>& member, const std::optional<Value>& value) {
    member = value;
    return value.has_value();
  }

  UapiSet set_;
};

// What the peer is to be, given what it is.
PeerConfig Merge(const UapiPeer& change, PeerConfig config) {
  config.public_key = change.public_key;
  if (change.preshared_key) config.preshared_key = *change.preshared_key;
  if (change.endpoint) config.endpoint = change.endpoint;
  if (change.persistent_keepalive) config.persistent_keepalive = *change.persistent_keepalive;
  if (change.replace_allowed_ips) config.allowed_ips.clear();
  if (change.allowed_ips.empty()) return config;
  // Peers with a hundred thousand prefixes exist: each is touched once. What is
  // said last about a prefix counts; what is said anew moves to the end.
  absl::flat_hash_map<IpPrefix, size_t> last;
  for (size_t i = 0; i < change.allowed_ips.size(); ++i) last[change.allowed_ips[i].prefix] = i;
  std::erase_if(config.allowed_ips, [&](const IpPrefix& prefix) { return last.contains(prefix); });
  for (size_t i = 0; i < change.allowed_ips.size(); ++i) {
    const UapiAllowedIp& allowed_ip = change.allowed_ips[i];
    if (!allowed_ip.remove && last[allowed_ip.prefix] == i) {
      config.allowed_ips.push_back(allowed_ip.prefix);
    }
  }
  return config;
}

}  // namespace

absl::StatusOr<UapiSet> ParseUapiSet(absl::string_view lines) {
  SetParser parser;
  int number = 0;
  while (!lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    const absl::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    ++number;
    const size_t equals = line.find('=');
    // Values may be keys: only the name of the line is repeated.
    if (equals == absl::string_view::npos ||
        !parser.Line(line.substr(0, equals), line.substr(equals + 1))) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": bad \"", line.substr(0, std::min(equals, size_t{40})),
                       "\" or bad value of it"));
    }
  }
  return parser.Take();
}

absl::Status ApplyUapiSet(const UapiSet& set, Device& device, Instant now, Outbox& out) {
  if (set.private_key) device.SetPrivateKey(*set.private_key);
  if (set.replace_peers) device.RemoveAllPeers();
  for (const UapiPeer& peer : set.peers) {
    if (peer.remove) {
      device.RemovePeer(peer.public_key);
      continue;
    }
    // wg(8) lists the interface's own key among the peers at times; it is
    // skipped as other implementations do.
    if (peer.public_key == device.public_key()) continue;
    const std::optional<PeerConfig> present = device.GetPeerConfig(peer.public_key);
    if (!present && peer.update_only) continue;
    if (absl::Status status =
            device.SetPeer(Merge(peer, present.value_or(PeerConfig())), now, out);
        !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

std::string FormatUapiGet(const Device& device, uint16_t listen_port, uint32_t fwmark) {
  std::string text;
  if (!device.private_key().is_zero()) {
    absl::StrAppend(&text, "private_key=", device.private_key().ToHex(), "\n");
  }
  if (listen_port != 0) absl::StrAppend(&text, "listen_port=", listen_port, "\n");
  if (fwmark != 0) absl::StrAppend(&text, "fwmark=", fwmark, "\n");
  for (const PeerStatus& peer : device.ListPeers()) {
    absl::StrAppend(&text, "public_key=", peer.public_key.ToHex(), "\n",
                    "preshared_key=", peer.preshared_key.ToHex(), "\nprotocol_version=1\n");
    if (peer.endpoint) absl::StrAppend(&text, "endpoint=", peer.endpoint->ToString(), "\n");
    const int64_t handshake = peer.last_handshake_unix_nanos;
    absl::StrAppend(&text, "last_handshake_time_sec=", handshake / kNanosPerSecond,
                    "\nlast_handshake_time_nsec=", handshake % kNanosPerSecond,
                    "\ntx_bytes=", peer.tx_bytes, "\nrx_bytes=", peer.rx_bytes,
                    "\npersistent_keepalive_interval=", peer.persistent_keepalive.count(), "\n");
    for (const IpPrefix& prefix : peer.allowed_ips) {
      absl::StrAppend(&text, "allowed_ip=", prefix.ToString(), "\n");
    }
  }
  absl::StrAppend(&text, "errno=0\n\n");
  return text;
}

std::string FormatUapiDrops(const DropCounters& drops) {
  std::string text;
  for (size_t i = 0; i < static_cast<size_t>(DropReason::kCount); ++i) {
    const auto reason = static_cast<DropReason>(i);
    absl::StrAppend(&text, "drop_", DropReasonName(reason), "=", drops[reason], "\n");
  }
  absl::StrAppend(&text, "errno=0\n\n");
  return text;
}

std::string FormatUapiErrno(const absl::Status& status) {
  int code = 0;
  switch (status.code()) {
    case absl::StatusCode::kOk:
      break;
    case absl::StatusCode::kInvalidArgument:
      code = EINVAL;
      break;
    case absl::StatusCode::kAlreadyExists:
      code = EADDRINUSE;
      break;
    case absl::StatusCode::kPermissionDenied:
      code = EPERM;
      break;
    case absl::StatusCode::kUnimplemented:
      code = EPROTO;
      break;
    default:
      code = EIO;
  }
  return absl::StrCat("errno=", -code, "\n\n");
}

}  // namespace im::tunnel
