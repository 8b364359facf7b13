// DnsResponder: answers a program's DNS questions about the cluster.
//
// Names are configuration, so nothing is asked of anybody: a query in, the
// answer out. "db" and "db.shop.im" both name the host db of the domain
// shop.im, in any case of letters. Answered are A, AAAA, ANY (by the first that
// there is, RFC 8482 4.1) and PTR of either address; other
// types of a known name have no data; unknown names do not exist. Only what a
// resolver library sends is understood: one question, opcode QUERY, EDNS
// tolerated. Anything else is refused with the fitting code, and what is not a
// query at all is dropped.
//
// RFC 1035 (messages, names), RFC 2308 (no data), RFC 3596 (AAAA, ip6.arpa),
// RFC 6891 (EDNS).

#ifndef IM_ORCHESTRATOR_NAMES_DNS_RESPONDER_H_
#define IM_ORCHESTRATOR_NAMES_DNS_RESPONDER_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/dual_stack.h"
#include "orchestrator/names/name_index.h"

namespace im::names {

// Addresses belong to their hosts for ever; the limit is for those who change
// cluster.yaml.
inline constexpr uint32_t kDnsTtlSeconds = 60;

class DnsResponder {
 public:
  // `names` must outlive the responder. `domain` without dots at its ends.
  DnsResponder(NameIndex& names, absl::string_view domain, const DualStack& dual_stack = {});

  // Whether `query` asks for a name that is neither of the cluster nor of one label, or
  // for that of an address that no host has: what Answer would say does not exist, and
  // another resolver may know.
  bool IsElsewhere(std::span<const uint8_t> query);
  // The answer to the UDP payload `query`; nullopt if none is due.
  std::optional<std::vector<uint8_t>> Answer(std::span<const uint8_t> query);

 private:
  struct Question;
  struct Reply;
  // The host's part of `name`: "db" of "db" and "db.shop.im"; nullopt if the
  // name lies elsewhere. Empty for the domain itself.
  std::optional<absl::string_view> HostPart(absl::string_view name) const;
  Reply Resolve(const Question& question);
  // The name of the host with the address of a reverse name; empty: there is none.
  std::string FindReverse(absl::string_view name);

  NameIndex& names_;
  std::string domain_;
  const DualStack dual_stack_;
};

}  // namespace im::names

#endif  // IM_ORCHESTRATOR_NAMES_DNS_RESPONDER_H_
