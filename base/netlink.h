// The few rtnetlink(7) requests that we need: link up, MTU, addresses, routes.
// All act in the calling thread's network namespace.

#ifndef IM_BASE_NETLINK_H_
#define IM_BASE_NETLINK_H_

#include <string>

#include "base/ip_address.h"
#include "base/status.h"

namespace im {

absl::StatusOr<int> LinkIndex(const std::string& name);
absl::Status SetLinkUp(const std::string& name);
absl::Status SetLinkMtu(const std::string& name, int mtu_bytes);
// `address` with the prefix length of its network, e.g. 10.77.0.3 and 16.
absl::Status AddAddress(const std::string& name, const IpAddress& address, int prefix_length);
absl::Status AddRoute(const std::string& name, const IpPrefix& destination);

}  // namespace im

#endif  // IM_BASE_NETLINK_H_
