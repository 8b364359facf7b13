// DnsResponder: answers a program's DNS questions about the cluster.
//
// Hosts' names are configuration, so nothing is asked of anybody: a query in, the
// answer out. "db" and "db.shop.im" both name the host db of the domain
// shop.im, in any case of letters. Names of guests and of stock peers come and go;
// imd alone knows them (NameIndex::Passing), so it is asked for what the table has not.
//
// Answered are A, AAAA, ANY (by the first that there is, RFC 8482 4.1) and PTR of either
// address; other types of a known name have no data; unknown names do not exist. Only what
// a resolver library sends is understood: one question, opcode QUERY, EDNS tolerated.
// Anything else is refused with the fitting code, and what is not a
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

inline constexpr uint16_t kDnsPort = 53;

// Addresses belong to their hosts for ever; the limit is for those who change
// cluster.yaml. What is said of names that come and go is not to be kept at all.
inline constexpr uint32_t kDnsTtlSeconds = 60;

// Who can answer a query.
enum class Knower : uint8_t {
  kHere,       // DnsResponder::Answer, the table or the form of the query being enough
  kImd,        // the name, of one label or below the domain, or the address, of the network, is not
               // in the table: a guest's, a peer's, or nobody's
  kElsewhere,  // it is none of the cluster's: another resolver, if there is one
};

class DnsResponder {
 public:
  // `names` must outlive the responder. `domain` without dots at its ends. `network`: the
  // cluster's.
  DnsResponder(NameIndex& names, absl::string_view domain, const IpPrefix& network,
               const DualStack& dual_stack = {});

  Knower WhoKnows(std::span<const uint8_t> query);
  // The answer to the UDP payload `query`; nullopt if none is due.
  std::optional<std::vector<uint8_t>> Answer(std::span<const uint8_t> query) {
    return Answer(query, /*may_resolve=*/true);
  }
  // That there is no answer (SERVFAIL), since who knows it does not say.
  std::optional<std::vector<uint8_t>> Fail(std::span<const uint8_t> query) {
    return Answer(query, /*may_resolve=*/false);
  }

 private:
  struct Question;
  struct Reply;
  // The host's part of `name`: "db" of "db" and "db.shop.im"; nullopt if the
  // name lies elsewhere. Empty for the domain itself.
  std::optional<absl::string_view> HostPart(absl::string_view name) const;
  std::optional<std::vector<uint8_t>> Answer(std::span<const uint8_t> query, bool may_resolve);
  Reply Resolve(const Question& question);
  // The name of the host with the address of a reverse name; empty: there is none.
  std::string FindReverse(absl::string_view name);

  NameIndex& names_;
  std::string domain_;
  const IpPrefix network_;
  const DualStack dual_stack_;
};

}  // namespace im::names

#endif  // IM_ORCHESTRATOR_NAMES_DNS_RESPONDER_H_
