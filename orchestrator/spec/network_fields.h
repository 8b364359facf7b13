// The addresses of the cluster's network: `network` of ours, `networks` of Compose.

#ifndef IM_ORCHESTRATOR_SPEC_NETWORK_FIELDS_H_
#define IM_ORCHESTRATOR_SPEC_NETWORK_FIELDS_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "base/dual_stack.h"
#include "base/ip_address.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/spec/diagnostic_sink.h"
#include "orchestrator/spec/yaml_tree.h"

namespace im::orchestrator {

// What a file says of them. All may be absent.
struct NetworkText {
  struct Text {
    std::string text;
    SourcePosition at;
  };
  std::optional<Text> cidr;
  std::optional<Text> ipv6;  // "true", "false" or a network
  bool of_compose = false;   // what is wrong with `ipv6` is a warning, and another one is taken
};

// Of a single one of Compose's networks the subnets, which addresses of services are in, and
// whether any has IPv6.
NetworkText ReadComposeNetworks(const YamlNode& node, DiagnosticSink& sink);

// Fills cluster.network, .gateway and .dual_stack. Whether the first two are good; `at` is
// for mistakes in what nobody wrote. Preconditions: the cluster has its name.
bool SetNetworks(const NetworkText& text, SourcePosition at, ClusterSpec& cluster,
                 DiagnosticSink& sink);

// What `ipv6: true` stands for: a unique local network (RFC 4193 3.1) whose 40 bits of global
// ID are a hash of the two, so that it is the same whenever and wherever they are.
DualStack DeriveDualStack(absl::string_view cluster, const IpPrefix& network);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_SPEC_NETWORK_FIELDS_H_
