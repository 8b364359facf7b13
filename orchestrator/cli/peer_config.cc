#include "orchestrator/cli/peer_config.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file_descriptor.h"
#include "orchestrator/cli/json.h"

namespace im::orchestrator::cli {
namespace {

constexpr size_t kHostBytesMax = 253;  // RFC 1035 2.3.4

// A name or an IPv4 address: no space or line break, which would be a line of its own in the
// configuration.
bool IsHost(absl::string_view text) {
  if (text.empty() || text.size() > kHostBytesMax) return false;
  for (const char c : text) {
    if (!absl::ascii_isalnum(c) && c != '.' && c != '-' && c != '_') return false;
  }
  return true;
}

std::optional<uint16_t> ParsePort(absl::string_view text) {
  int port = 0;
  if (!absl::SimpleAtoi(text, &port) || port < 1 || port > 65535) return std::nullopt;
  return static_cast<uint16_t>(port);
}

// Nothing is sent: the kernel is asked which way it would go.
std::optional<IpAddress> AddressOfDefaultRoute() {
  const Endpoint somewhere{IpAddress::V4(0xc0000201), 9};  // 192.0.2.1, RFC 5737
  const FileDescriptor probe(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage address{};
  socklen_t size = somewhere.ToSockaddr(address);
  if (!probe.valid() ||
      connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
    return std::nullopt;
  }
  size = sizeof(address);
  if (getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return std::nullopt;
  return Endpoint::FromSockaddr(address).address;
}

}  // namespace

std::optional<IpAddress> OwnAddress(const IpPrefix& network) {
  const auto fits = [&](const IpAddress& address) {
    return address.is_v4() && !address.is_loopback() && !address.is_unspecified() &&
           !network.Contains(address);
  };
  if (const auto address = AddressOfDefaultRoute(); address && fits(*address)) return address;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return std::nullopt;
  std::optional<IpAddress> found;
  for (const ifaddrs* one = list; one != nullptr && !found; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET ||
        (one->ifa_flags & IFF_UP) == 0) {
      continue;
    }
    sockaddr_storage storage{};
    std::memcpy(&storage, one->ifa_addr, sizeof(sockaddr_in));
    const IpAddress address = Endpoint::FromSockaddr(storage).address;
    if (fits(address)) found = address;
  }
  freeifaddrs(list);
  return found;
}

absl::StatusOr<std::string> CompleteEndpoint(const std::string& text, uint16_t port) {
  const auto bad = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat("--endpoint: expected HOST or HOST:PORT, not \"", text, "\""));
  };
  if (const auto address = IpAddress::Parse(text)) return Endpoint{*address, port}.ToString();
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) {
    return IsHost(text) ? absl::StatusOr<std::string>(absl::StrCat(text, ":", port)) : bad();
  }
  if (!ParsePort(absl::string_view(text).substr(colon + 1))) return bad();
  if (text[0] == '[') {
    const auto endpoint = Endpoint::Parse(text);
    return endpoint ? absl::StatusOr<std::string>(endpoint->ToString()) : bad();
  }
  return IsHost(absl::string_view(text).substr(0, colon)) ? absl::StatusOr<std::string>(text)
                                                           : bad();
}

std::string PeerConfig::ToText(bool comments) const {
  std::string text;
  if (comments) {
    absl::StrAppend(&text, "# ", name, " in cluster ", cluster,
                    "; taken back with: im -c ", cluster, " peer remove ", name, "\n");
  }
  const std::string second = address6.empty() ? "" : absl::StrCat(", ", address6, "/128");
  absl::StrAppend(&text, "[Interface]\nPrivateKey = ", private_key, "\nAddress = ", address,
                  "/32", second, "\nMTU = ", mtu, "\n");
  switch (dns) {
    case PeerDns::kLine:
      if (comments) {
        absl::StrAppend(&text,
                        "# wg-quick needs resolvconf for this line (Debian: package openresolv,\n"
                        "# or systemd-resolved). Without it, leave the line out: hosts are\n"
                        "# then reached by their addresses.\n");
      }
      absl::StrAppend(&text, "DNS = ", resolver, ", ", domain, "\n");
      break;
    case PeerDns::kResolvectl:
      absl::StrAppend(&text, "PostUp = resolvectl dns %i ", resolver,
                      "; resolvectl domain %i ", domain, "\n");
      break;
    case PeerDns::kNone:
      break;
  }
  absl::StrAppend(&text, "\n[Peer]\nPublicKey = ", gateway_public_key, "\n");
  if (!preshared_key.empty()) absl::StrAppend(&text, "PresharedKey = ", preshared_key, "\n");
  absl::StrAppend(&text, "AllowedIPs = ", network, network6.empty() ? "" : ", ", network6,
                  "\nEndpoint = ", endpoint,
                  "\nPersistentKeepalive = ", kPeerKeepalive, "\n");
  return text;
}

std::string PeerConfig::ToJson() const {
  std::string text = "{";
  const auto member = [&](absl::string_view key, const std::string& value) {
    absl::StrAppend(&text, text.size() == 1 ? "" : ",", "\"", key, "\":", value);
  };
  member("name", JsonString(name));
  member("cluster", JsonString(cluster));
  member("address", JsonString(address));
  if (!address6.empty()) member("address6", JsonString(address6));
  member("private_key", JsonString(private_key));
  member("public_key", JsonString(public_key));
  member("preshared_key", JsonString(preshared_key));
  member("gateway_public_key", JsonString(gateway_public_key));
  member("endpoint", JsonString(endpoint));
  member("allowed_ips",
         absl::StrCat("[", JsonString(network),
                      network6.empty() ? "" : absl::StrCat(",", JsonString(network6)), "]"));
  member("dns", JsonString(resolver));
  member("domain", JsonString(domain));
  member("mtu", absl::StrCat(mtu));
  member("persistent_keepalive_s", absl::StrCat(kPeerKeepalive));
  member("config", JsonString(ToText(/*comments=*/true)));
  return absl::StrCat(text, "}");
}

}  // namespace im::orchestrator::cli
