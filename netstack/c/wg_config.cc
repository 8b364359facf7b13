#include "netstack/c/wg_config.h"

#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace im::netstack {
namespace {

class Parser {
 public:
  absl::StatusOr<WgConfig> Parse(absl::string_view text) {
    for (absl::string_view line : absl::StrSplit(text, '\n')) {
      ++line_;
      line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
      if (line.empty()) continue;
      IM_RETURN_IF_ERROR(line[0] == '[' ? Section(line) : Setting(line));
    }
    IM_RETURN_IF_ERROR(EndSection());
    if (config_.private_key.is_zero()) return Wrong("there is no PrivateKey");
    if (config_.addresses.empty()) return Wrong("there is no Address");
    return std::move(config_);
  }

 private:
  absl::Status Wrong(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat("line ", line_, ": ", what));
  }

  absl::Status Section(absl::string_view line) {
    IM_RETURN_IF_ERROR(EndSection());
    seen_.clear();
    in_interface_ = absl::EqualsIgnoreCase(line, "[Interface]");
    in_peer_ = absl::EqualsIgnoreCase(line, "[Peer]");
    if (!in_interface_ && !in_peer_) return Wrong("not [Interface] or [Peer]");
    if (in_interface_ && std::exchange(had_interface_, true)) return Wrong("a second [Interface]");
    if (in_peer_) config_.peers.emplace_back();
    return absl::OkStatus();
  }

  absl::Status EndSection() const {
    if (in_peer_ && !seen_.contains("publickey")) return Wrong("the [Peer] has no PublicKey");
    return absl::OkStatus();
  }

  absl::Status Setting(absl::string_view line) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits('=', 1));
    const std::string key = absl::AsciiStrToLower(absl::StripAsciiWhitespace(parts.first));
    const absl::string_view value = absl::StripAsciiWhitespace(parts.second);
    if (value.empty()) return Wrong(absl::StrCat(key, " has no value"));
    const bool list = key == "address" || key == "allowedips";
    if (!seen_.insert(key).second && !list) return Wrong(absl::StrCat(key, " comes twice"));
    std::optional<bool> good;  // nullopt: no such key
    if (in_interface_) good = InterfaceSetting(key, value);
    if (in_peer_) good = PeerSetting(config_.peers.back(), key, value);
    if (!good.has_value()) return Wrong(absl::StrCat(key, " is not known here"));
    // Not the value: it may be a secret.
    if (!*good) return Wrong(absl::StrCat(key, " has a value that cannot be"));
    return absl::OkStatus();
  }

  std::optional<bool> InterfaceSetting(absl::string_view key, absl::string_view value) {
    if (key == "privatekey") return Put(tunnel::PrivateKey::FromBase64(value), config_.private_key);
    if (key == "mtu") return absl::SimpleAtoi(value, &config_.mtu);
    if (key == "listenport") {
      if (const auto endpoint = Endpoint::Parse(value)) return Put(endpoint, config_.listen);
      return ParsePort(value, config_.listen.port);
    }
    if (key != "address") return std::nullopt;
    for (const absl::string_view text : absl::StrSplit(value, ',')) {
      const auto address = ParseWgAddress(absl::StripAsciiWhitespace(text));
      if (!address.has_value()) return false;
      config_.addresses.push_back(*address);
    }
    return true;
  }

  std::optional<bool> PeerSetting(tunnel::PeerConfig& peer, absl::string_view key,
                                  absl::string_view value) {
    if (key == "publickey") return Put(tunnel::PublicKey::FromBase64(value), peer.public_key);
    if (key == "presharedkey")
      return Put(tunnel::PresharedKey::FromBase64(value), peer.preshared_key);
    if (key == "endpoint") {
      peer.endpoint = Endpoint::Parse(value);
      return peer.endpoint.has_value() && peer.endpoint->port != 0;
    }
    if (key == "persistentkeepalive") {
      uint16_t seconds = 0;
      if (value != "off" && !ParsePort(value, seconds)) return false;
      peer.persistent_keepalive = std::chrono::seconds(seconds);
      return true;
    }
    if (key != "allowedips") return std::nullopt;
    for (const absl::string_view text : absl::StrSplit(value, ',')) {
      const auto prefix = IpPrefix::Parse(absl::StripAsciiWhitespace(text));
      if (!prefix.has_value()) return false;
      peer.allowed_ips.push_back(*prefix);
    }
    return true;
  }

  template <typename From, typename To>
  static bool Put(const From& from, To& to) {
    if (from.has_value()) to = *from;
    return from.has_value();
  }
  static bool ParsePort(absl::string_view value, uint16_t& port) {
    uint32_t number;
    if (!absl::SimpleAtoi(value, &number) || number > 0xffff) return false;
    port = static_cast<uint16_t>(number);
    return true;
  }

  WgConfig config_;
  int line_ = 0;
  bool in_interface_ = false;
  bool in_peer_ = false;
  bool had_interface_ = false;
  std::set<std::string> seen_;  // keys of this section
};

}  // namespace

std::optional<WgAddress> ParseWgAddress(absl::string_view text) {
  const size_t slash = text.find('/');
  const auto address = IpAddress::Parse(text.substr(0, slash));
  if (!address.has_value()) return std::nullopt;
  const int longest = address->is_v4() ? 32 : 128;
  int length = longest;
  if (slash != absl::string_view::npos &&
      (!absl::SimpleAtoi(text.substr(slash + 1), &length) || length < 1 || length > longest))
    return std::nullopt;
  return WgAddress{*address, length};
}

absl::StatusOr<WgConfig> ParseWgConfig(absl::string_view text) { return Parser().Parse(text); }

}  // namespace im::netstack
