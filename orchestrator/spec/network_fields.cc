#include "orchestrator/spec/network_fields.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "orchestrator/address_pool.h"
#include "orchestrator/spec/map_reader.h"
#include "orchestrator/spec/units.h"
#include "tunnel/crypto.h"

namespace im::orchestrator {
namespace {

constexpr char kDefaultNetwork[] = "10.77.0.0/16";
// Room for the gateway and one host, and not more than one private block.
constexpr int kPrefixLengthMin = 8;
constexpr int kPrefixLengthMax = 30;

// RFC 4193 3.1: fc00::/7 with the L bit.
constexpr uint8_t kUniqueLocal = 0xfd;
constexpr size_t kGlobalIdBytes = 5;
// Mixed into the hash, so that no other use of it gives the same bits.
constexpr absl::string_view kGlobalIdLabel = "im network.ipv6";

struct Problem {
  std::string message;
  std::string hint;
};

bool IsOfAny(const IpPrefix& network, std::initializer_list<const char*> blocks) {
  return std::any_of(blocks.begin(), blocks.end(), [&](const char* block) {
    return IpPrefix::Parse(block)->Contains(network);
  });
}

bool IsPrivate(const IpPrefix& network) {
  return IsOfAny(network, {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
                           "198.18.0.0/15", "169.254.0.0/16"});
}

// RFC 4193; RFC 3849 and 9637, which are for documentation.
bool IsLocal6(const IpPrefix& network) {
  return IsOfAny(network, {"fc00::/7", "2001:db8::/32", "3fff::/20"});
}

// "10.77.0.5/16" says more than its network.
std::optional<Problem> CheckHostBits(const std::string& text, const IpPrefix& prefix) {
  if (IpAddress::Parse(text.substr(0, text.find('/'))) == prefix.address()) return std::nullopt;
  return Problem{absl::StrCat(text, " is an address inside a network, not a network"),
                 absl::StrCat("write ", prefix.ToString())};
}

std::optional<Problem> CheckNetwork(const std::string& text,
                                    const std::optional<IpPrefix>& prefix) {
  if (!prefix || !prefix->is_v4()) {
    return Problem{absl::StrCat("expected an IPv4 network, found ", Quote(text)),
                   "networks look like 10.77.0.0/16"};
  }
  if (prefix->length() < kPrefixLengthMin || prefix->length() > kPrefixLengthMax) {
    return Problem{absl::StrCat("the network ", text, " must have a prefix length from ",
                                kPrefixLengthMin, " to ", kPrefixLengthMax),
                   ""};
  }
  if (auto problem = CheckHostBits(text, *prefix)) return problem;
  const uint32_t first_byte = prefix->address().v4() >> 24;
  if (first_byte == 0 || first_byte == 127 || first_byte >= 224) {
    return Problem{absl::StrCat("hosts cannot have addresses of ", text),
                   "take a part of 10.0.0.0/8"};
  }
  return std::nullopt;
}

std::optional<Problem> CheckNetwork6(const std::string& text,
                                     const std::optional<IpPrefix>& prefix) {
  if (!prefix || prefix->is_v4()) {
    return Problem{absl::StrCat("expected true, false or an IPv6 network, found ", Quote(text)),
                   "networks look like fd12:3456:789a::/64"};
  }
  if (prefix->length() > DualStack::kPrefixLength) {
    return Problem{absl::StrCat("the network ", text, " must have a prefix length of at most ",
                                DualStack::kPrefixLength),
                   "the last 32 bits of a host's address are its IPv4 address"};
  }
  if (auto problem = CheckHostBits(text, *prefix)) return problem;
  // Of ::/96 are :: and ::1.
  const IpAddress& first = prefix->address();
  if (first.is_unspecified() || first.is_multicast() || first.is_v6_link_local()) {
    return Problem{absl::StrCat("hosts cannot have addresses of ", text),
                   "take a part of fd00::/8"};
  }
  return std::nullopt;
}

const YamlNode* Field(const YamlNode* map, absl::string_view name) {
  if (map == nullptr || map->kind != YamlNode::Kind::kMap) return nullptr;
  const YamlNode::Entry* found = map->Find(name);
  return found == nullptr ? nullptr : found->value.get();
}

// The subnets of `ipam` that can be the cluster's; whether there are such.
bool ReadSubnets(const YamlNode& ipam, bool ipv6, NetworkText& text) {
  const YamlNode* const config = Field(&ipam, "config");
  if (config == nullptr || config->kind != YamlNode::Kind::kSequence) return false;
  bool any = false;
  for (const auto& item : config->items) {
    const YamlNode* const subnet = Field(item.get(), "subnet");
    const auto prefix = subnet == nullptr ? std::nullopt : IpPrefix::Parse(subnet->scalar);
    if (!prefix) continue;
    std::optional<NetworkText::Text>& place = prefix->is_v4() ? text.cidr : text.ipv6;
    if (prefix->is_v4() ? prefix->length() > kPrefixLengthMax || text.cidr.has_value() : !ipv6)
      continue;
    place = {subnet->scalar, subnet->at};
    any = true;
  }
  return any;
}

void SetDualStack(const NetworkText& text, ClusterSpec& cluster, DiagnosticSink& sink) {
  if (!text.ipv6) return;
  const auto& [network, at] = *text.ipv6;
  const std::optional<bool> wanted = ParseBool(network);
  if (wanted == false) return;
  if (!wanted) {
    const auto prefix = IpPrefix::Parse(network);
    const auto problem = CheckNetwork6(network, prefix);
    if (!problem) {
      if (!IsLocal6(*prefix)) {
        sink.Warning(at, absl::StrCat(network, " is not a unique local network (RFC 4193)"),
                     "the machines that really have these addresses cannot be reached by the hosts");
      }
      cluster.dual_stack = DualStack(*prefix);
      return;
    }
    if (!text.of_compose) return sink.Error(at, problem->message, problem->hint);
    sink.Warning(at, absl::StrCat("not honoured: ", problem->message), problem->hint);
  }
  cluster.dual_stack = DeriveDualStack(cluster.name, cluster.network);
}

}  // namespace

NetworkText ReadComposeNetworks(const YamlNode& node, DiagnosticSink& sink) {
  NetworkText text;
  text.of_compose = true;
  if (node.kind != YamlNode::Kind::kMap) {
    sink.Error(node.at, absl::StrCat("networks: expected a mapping of names, found ",
                                     node.KindName()));
    return text;
  }
  if (node.entries.size() > 1) {
    sink.Warning(node.at, "networks: all hosts are in one network, and reach each other");
  }
  for (const YamlNode::Entry& entry : node.entries) {
    if (entry.value->kind == YamlNode::Kind::kNull) continue;
    MapReader network(*entry.value, absl::StrCat("networks.", entry.key), sink);
    const bool ipv6 = network.Bool("enable_ipv6").value_or(false);
    if (ipv6) text.ipv6 = {"true", network.Get("enable_ipv6")->at};
    if (const YamlNode* ipam = network.Get("ipam")) {
      if (node.entries.size() != 1 || !ReadSubnets(*ipam, ipv6, text)) {
        sink.Warning(ipam->at, absl::StrCat("networks.", entry.key, ": ipam is not honoured"),
                     "network: {cidr: ...} chooses the hosts' addresses");
      }
    }
    network.NotHonoured({"external", "driver_opts"});
    network.Ignore({"driver", "name", "labels", "internal", "attachable", "enable_ipv4"});
    network.Finish();
  }
  return text;
}

bool SetNetworks(const NetworkText& text, SourcePosition at, ClusterSpec& cluster,
                 DiagnosticSink& sink) {
  const NetworkText::Text cidr = text.cidr.value_or(NetworkText::Text{kDefaultNetwork, at});
  const auto prefix = IpPrefix::Parse(cidr.text);
  const auto problem = CheckNetwork(cidr.text, prefix);
  if (problem) {
    sink.Error(cidr.at, problem->message, problem->hint);
  } else {
    if (!IsPrivate(*prefix)) {
      sink.Warning(cidr.at, absl::StrCat(cidr.text, " is not a private network (RFC 1918)"),
                   "the machines that really have these addresses cannot be reached by the hosts");
    }
    cluster.network = *prefix;
    cluster.gateway = AddressPool(*prefix).gateway();
  }
  SetDualStack(text, cluster, sink);
  return !problem;
}

DualStack DeriveDualStack(absl::string_view cluster, const IpPrefix& network) {
  const auto bytes = [](absl::string_view text) {
    return tunnel::Bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  const std::string cidr = network.ToString();
  // No name has a line break.
  const tunnel::Hash hash = tunnel::Blake2s(
      {bytes(kGlobalIdLabel), bytes("\n"), bytes(cluster), bytes("\n"), bytes(cidr)});
  std::array<uint8_t, 16> address{kUniqueLocal};
  std::copy_n(hash.begin(), kGlobalIdBytes, address.begin() + 1);
  return DualStack(IpPrefix(IpAddress::FromBytes(address), DualStack::kPrefixLength));
}

}  // namespace im::orchestrator
