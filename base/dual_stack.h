// DualStack: the IPv6 addresses of a network whose hosts are known by their IPv4 ones.
//
// A host's IPv6 address is the network's 96 bits and then the host's IPv4 address
// (written as RFC 4291 2.2 (3) does it; the idea is that of RFC 6052 2.2). So it is
// computed wherever it is needed: nothing is stored or told for a host, and all tables
// stay keyed by IPv4. Where an address of a packet meets such a table it goes through
// Plain() first.

#ifndef IM_BASE_DUAL_STACK_H_
#define IM_BASE_DUAL_STACK_H_

#include <optional>
#include <vector>

#include "base/ip_address.h"

namespace im {

class DualStack {
 public:
  static constexpr int kPrefixLength = 96;

  // IPv4 alone.
  DualStack() = default;
  // The first /96 of `prefix` is used. Preconditions: it is of IPv6, and no longer.
  explicit DualStack(const IpPrefix& prefix);

  // Whether there are IPv6 addresses.
  bool on() const { return network_.length() != 0; }
  // The /96. Preconditions: on().
  const IpPrefix& network() const { return network_; }

  // Preconditions: on(), and `v4` is IPv4.
  IpAddress ToV6(const IpAddress& v4) const;
  // nullopt: `v6` is not of the network.
  std::optional<IpAddress> ToV4(const IpAddress& v6) const;
  // The IPv4 address of the host that has `address`; one that no host can have as it is.
  IpAddress Plain(const IpAddress& address) const {
    if (!on() || address.is_v4()) return address;
    return ToV4(address).value_or(address);
  }
  // `address` of a host, and the one of IPv6 that goes with it.
  std::vector<IpPrefix> HostPrefixes(const IpAddress& address) const;

  friend bool operator==(const DualStack&, const DualStack&) = default;

 private:
  IpPrefix network_;
};

}  // namespace im

#endif  // IM_BASE_DUAL_STACK_H_
