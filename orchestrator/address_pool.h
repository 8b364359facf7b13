// AddressPool: gives out the addresses of an IPv4 network, lowest first.
//
// The network's own, its first (the gateway's) and its broadcast address are
// never given out. The same calls give the same addresses: a cluster.yaml
// that only grows at its end keeps the addresses of its hosts.

#ifndef IM_ORCHESTRATOR_ADDRESS_POOL_H_
#define IM_ORCHESTRATOR_ADDRESS_POOL_H_

#include <cstdint>
#include <optional>

#include "absl/container/flat_hash_set.h"
#include "base/ip_address.h"

namespace im::orchestrator {

class AddressPool {
 public:
  // Preconditions: network.is_v4(), network.length() <= 30.
  explicit AddressPool(const IpPrefix& network);

  IpAddress gateway() const;
  // How many can be given out in all.
  uint64_t size() const { return uint64_t{last_} - first_ + 1; }

  // Whether `address` is one that may be given out, taken or not.
  bool IsUsable(const IpAddress& address) const;
  // False if it is taken or not usable.
  bool Reserve(const IpAddress& address);
  // The lowest free one; nullopt when none is left.
  std::optional<IpAddress> Take();
  // The highest free one: for guests, so that they stay out of the way of
  // hosts that are added to the file.
  std::optional<IpAddress> TakeHighest();
  void Release(const IpAddress& address);

 private:
  uint32_t first_;  // host byte order, both inclusive
  uint32_t last_;
  uint32_t lowest_;   // nothing below is free
  uint32_t highest_;  // nothing above is free
  absl::flat_hash_set<uint32_t> taken_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_ADDRESS_POOL_H_
