// PassingNames: the names that come and go, out of the host table: of guests (guests.h)
// and of stock peers (peers.h). Hosts' own names and aliases are in the name table.

#ifndef IM_ORCHESTRATOR_PASSING_NAMES_H_
#define IM_ORCHESTRATOR_PASSING_NAMES_H_

#include <optional>
#include <string>

#include "orchestrator/host_table.h"
#include "orchestrator/names/name_index.h"

namespace im::orchestrator {

class PassingNames final : public names::NameIndex::Passing {
 public:
  // `hosts` must outlive it.
  explicit PassingNames(const HostTable& hosts) : hosts_(hosts) {}

  std::optional<IpAddress> Find(absl::string_view name) const override {
    const std::optional<HostId> host = hosts_.FindByName(name);
    if (!host) return hosts_.FindPeer(name);
    return hosts_[*host].guest ? std::optional(hosts_[*host].address) : std::nullopt;
  }
  std::string FindName(const IpAddress& address) const override {
    const std::optional<HostId> host = hosts_.FindByAddress(address);
    if (!host) return hosts_.PeerAt(address);
    return hosts_[*host].guest ? hosts_[*host].name : std::string();
  }

 private:
  const HostTable& hosts_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_PASSING_NAMES_H_
