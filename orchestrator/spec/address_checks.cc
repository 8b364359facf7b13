#include "orchestrator/spec/address_checks.h"

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "orchestrator/address_pool.h"

namespace im::orchestrator {
namespace {

class AddressAssignment {
 public:
  AddressAssignment(const std::vector<HostDraft>& drafts, ClusterSpec& cluster,
                    DiagnosticSink& sink)
      : drafts_(drafts), cluster_(cluster), sink_(sink), pool_(cluster.network) {}

  void Run() {
    for (const HostDraft& draft : drafts_) {
      if (const auto wanted = Wanted(draft)) Reserve(draft, *wanted);
    }
    GiveOut();
  }

 private:
  struct Wish {
    IpAddress address;  // of IPv4
    std::string text;   // as it was asked for
    SourcePosition at;
  };
  struct Owner {
    const HostDraft* draft;
    int line;
  };

  // What can be had of what the host asks for.
  std::optional<Wish> Wanted(const HostDraft& draft) {
    if (!draft.address && !draft.address6) return std::nullopt;
    if (ReplicaCount(draft) > 1) {
      sink_.Error(draft.address ? draft.address_at : draft.address6_at,
                  absl::StrCat(ReplicaCount(draft), " replicas cannot share one address"));
      return std::nullopt;
    }
    const std::optional<Wish> by4 = Wanted4(draft);
    const std::optional<Wish> by6 = Wanted6(draft);
    if (by4 && by6 && by4->address != by6->address) {
      sink_.Error(by6->at,
                  absl::StrCat("ipv6_address ", by6->text, " does not go with ", by4->text,
                               ", the host's IPv4 address"),
                  absl::StrCat("write ", cluster_.dual_stack.ToV6(by4->address).ToString(),
                               ", or one of the two alone"));
    }
    return by4 ? by4 : by6;
  }

  std::optional<Wish> Wanted4(const HostDraft& draft) {
    if (!draft.address) return std::nullopt;
    const IpAddress& address = *draft.address;
    const std::string text = address.ToString();
    if (pool_.IsUsable(address)) return Wish{address, text, draft.address_at};
    if (draft.address_of_compose) {
      sink_.Warning(draft.address_at,
                    absl::StrCat("ipv4_address ", text, " is not honoured: it is not of the "
                                 "cluster's network ", cluster_.network.ToString()));
    } else if (!cluster_.network.Contains(address)) {
      sink_.Error(draft.address_at, absl::StrCat("address ", text, " is outside the network ",
                                                 cluster_.network.ToString()));
    } else {
      const bool is_gateway = address == cluster_.gateway;
      const bool is_first = address == cluster_.network.address();
      sink_.Error(draft.address_at,
                  absl::StrCat("address ", text, " is the ",
                               is_gateway ? "gateway's"
                               : is_first ? "network's own"
                                          : "network's broadcast address"),
                  is_gateway ? "the first address of the network is taken" : "");
    }
    return std::nullopt;
  }

  // A host's IPv6 address is not free to choose beside the other (base/dual_stack.h).
  std::optional<Wish> Wanted6(const HostDraft& draft) {
    if (!draft.address6) return std::nullopt;
    const DualStack& dual_stack = cluster_.dual_stack;
    const std::string text = draft.address6->ToString();
    const auto not_honoured = [&](absl::string_view why, std::string hint) {
      sink_.Warning(draft.address6_at,
                    absl::StrCat("ipv6_address ", text, " is not honoured: ", why),
                    std::move(hint));
      return std::nullopt;
    };
    if (!dual_stack.on())
      return not_honoured("the hosts have no IPv6",
                          "enable_ipv6: true of its network gives it to them");
    const auto address = dual_stack.ToV4(*draft.address6);
    if (address && pool_.IsUsable(*address)) return Wish{*address, text, draft.address6_at};
    const bool known = draft.address && pool_.IsUsable(*draft.address);
    return not_honoured(
        absl::StrCat("it is not ", dual_stack.network().ToString(), " with an IPv4 address of ",
                     cluster_.network.ToString(), " behind it"),
        known ? absl::StrCat("the host's is ", dual_stack.ToV6(*draft.address).ToString())
              : std::string());
  }

  void Reserve(const HostDraft& draft, const Wish& wanted) {
    if (pool_.Reserve(wanted.address)) {
      owners_[wanted.address] = {&draft, wanted.at.line};
      reserved_[&draft] = wanted.address;
      return;
    }
    const Owner& owner = owners_[wanted.address];
    sink_.Error(wanted.at, absl::StrCat("address ", wanted.text, " is taken by host ",
                                        owner.draft->spec.name, " in line ", owner.line));
  }

  void GiveOut() {
    size_t next = 0;
    for (const HostDraft& draft : drafts_) {
      const auto reserved = reserved_.find(&draft);
      // Of too many, which was said, not all are there.
      for (int64_t i = 1; i <= ReplicaCount(draft) && next < cluster_.hosts.size(); ++i) {
        const auto address = reserved != reserved_.end() ? reserved->second : pool_.Take();
        if (!address) {
          sink_.Error(draft.spec.at,
                      absl::StrCat("host ", HostName(draft, i), ": the network ",
                                   cluster_.network.ToString(), " has no address left (",
                                   pool_.size(), " in all)"),
                      "choose a larger network");
          return;
        }
        cluster_.hosts.SetAddress(next++, *address);
      }
    }
  }

  const std::vector<HostDraft>& drafts_;
  ClusterSpec& cluster_;
  DiagnosticSink& sink_;
  AddressPool pool_;
  absl::flat_hash_map<const HostDraft*, IpAddress> reserved_;
  std::map<IpAddress, Owner> owners_;
};

}  // namespace

void AssignAddresses(const std::vector<HostDraft>& drafts, ClusterSpec& cluster,
                     DiagnosticSink& sink) {
  AddressAssignment(drafts, cluster, sink).Run();
}

}  // namespace im::orchestrator
