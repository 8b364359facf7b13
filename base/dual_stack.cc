#include "base/dual_stack.h"

#include <algorithm>

#include "base/check.h"

namespace im {

DualStack::DualStack(const IpPrefix& prefix) : network_(prefix.address(), kPrefixLength) {
  IM_CHECK(!prefix.is_v4() && prefix.length() <= kPrefixLength);
}

IpAddress DualStack::ToV6(const IpAddress& v4) const {
  IM_CHECK(on() && v4.is_v4());
  std::array<uint8_t, 16> bytes = network_.address().mapped();
  std::copy(v4.bytes().begin(), v4.bytes().end(), bytes.begin() + kPrefixLength / 8);
  return IpAddress::FromBytes(bytes);
}

std::optional<IpAddress> DualStack::ToV4(const IpAddress& v6) const {
  if (!on() || v6.is_v4() || !network_.Contains(v6)) return std::nullopt;
  return IpAddress::FromBytes(v6.bytes().subspan(kPrefixLength / 8));
}

std::vector<IpPrefix> DualStack::HostPrefixes(const IpAddress& address) const {
  std::vector<IpPrefix> prefixes = {IpPrefix::Host(address)};
  if (on() && address.is_v4()) prefixes.push_back(IpPrefix::Host(ToV6(address)));
  return prefixes;
}

}  // namespace im
