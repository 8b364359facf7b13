// A tunnel's configuration as wg-quick(8) writes it.

#ifndef IM_NETSTACK_C_WG_CONFIG_H_
#define IM_NETSTACK_C_WG_CONFIG_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/ip_address.h"
#include "tunnel/device.h"

namespace im::netstack {

struct WgAddress {
  IpAddress address;
  int prefix_length;
};

struct WgConfig {
  tunnel::PrivateKey private_key;
  std::vector<WgAddress> addresses;  // at least one
  Endpoint listen;                   // unspecified, 0: any
  int mtu = 1420;                    // bytes
  std::vector<tunnel::PeerConfig> peers;
};

// "10.0.0.1/24"; an address alone has the family's longest prefix.
std::optional<WgAddress> ParseWgAddress(absl::string_view text);

// InvalidArgument, with the number of the line: unknown sections and keys, keys
// that come twice, values that cannot be. Names as endpoints are not looked up.
absl::StatusOr<WgConfig> ParseWgConfig(absl::string_view text);

}  // namespace im::netstack

#endif  // IM_NETSTACK_C_WG_CONFIG_H_
