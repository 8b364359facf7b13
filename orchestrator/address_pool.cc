#include "orchestrator/address_pool.h"

#include <algorithm>

#include "base/check.h"

namespace im::orchestrator {

AddressPool::AddressPool(const IpPrefix& network) {
  IM_CHECK(network.is_v4() && network.length() <= 30);
  const uint32_t base = network.address().v4();
  const uint32_t host_mask = ~uint32_t{0} >> network.length();
  first_ = base + 2;
  last_ = base + host_mask - 1;
  lowest_ = first_;
  highest_ = last_;
}

IpAddress AddressPool::gateway() const { return IpAddress::V4(first_ - 1); }

bool AddressPool::IsUsable(const IpAddress& address) const {
  return address.is_v4() && address.v4() >= first_ && address.v4() <= last_;
}

bool AddressPool::Reserve(const IpAddress& address) {
  return IsUsable(address) && taken_.insert(address.v4()).second;
}

std::optional<IpAddress> AddressPool::Take() {
  if (taken_.size() >= size()) return std::nullopt;
  while (taken_.contains(lowest_)) ++lowest_;
  taken_.insert(lowest_);
  return IpAddress::V4(lowest_++);
}

std::optional<IpAddress> AddressPool::TakeHighest() {
  if (taken_.size() >= size()) return std::nullopt;
  while (taken_.contains(highest_)) --highest_;
  taken_.insert(highest_);
  return IpAddress::V4(highest_--);
}

void AddressPool::Release(const IpAddress& address) {
  if (!IsUsable(address) || taken_.erase(address.v4()) == 0) return;
  lowest_ = std::min(lowest_, address.v4());
  highest_ = std::max(highest_, address.v4());
}

}  // namespace im::orchestrator
