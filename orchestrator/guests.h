// Guests: names, addresses and clients of the one-off programs of `im run`.
//
// A guest's name is in the cluster's DNS while it is there (passing_names.h), so it must be
// nobody else's: no host's, service's or alias', no peer's, and no other guest's.

#ifndef IM_ORCHESTRATOR_GUESTS_H_
#define IM_ORCHESTRATOR_GUESTS_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "base/ip_address.h"
#include "base/status.h"
#include "orchestrator/address_pool.h"
#include "orchestrator/host_table.h"
#include "orchestrator/names/name_index.h"

namespace im::orchestrator {

// Guests at once: each is a process that somebody started by hand or script.
inline constexpr size_t kGuestsMax = 1000;
// Longest name, in bytes (RFC 1035 2.3.4).
inline constexpr size_t kGuestNameBytesMax = 63;

class Guests {
 public:
  using OnEnd = std::function<void(absl::Status)>;

  // Both must outlive it. `names`: all that are taken, guests' too.
  Guests(AddressPool& addresses, names::NameIndex& names) : addresses_(addresses), names_(names) {}

  // Adds the guest to `hosts`. An empty name: the first free one of run-1, run-2, …
  // AlreadyExists: somebody has the name.
  absl::StatusOr<HostId> Add(const std::string& name, OnEnd on_end, Instant now, HostTable& hosts);
  // One that an earlier orchestrator had; its client is gone.
  absl::StatusOr<HostId> AddSaved(const std::string& name, const IpAddress& address, Instant now,
                                  HostTable& hosts);
  // The client need not be told any more.
  OnEnd TakeOnEnd(HostId host);
  // Gives the address back.
  void Remove(HostId host);

  template <typename F>
  void ForEach(F f) const {
    for (const auto& [host, guest] : guests_) f(host);
  }

 private:
  struct Guest {
    IpAddress address;
    OnEnd on_end;
  };

  absl::StatusOr<HostId> AddTo(HostTable& hosts, const std::string& name, const IpAddress& address,
                               OnEnd on_end, Instant now);

  // Who has the name; OK if nobody has.
  absl::Status CheckFree(const std::string& name, const HostTable& hosts);

  AddressPool& addresses_;
  names::NameIndex& names_;
  absl::flat_hash_map<HostId, Guest> guests_;
  uint64_t next_number_ = 1;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_GUESTS_H_
