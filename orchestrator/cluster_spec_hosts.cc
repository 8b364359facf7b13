// HostList (cluster_spec.h).

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "orchestrator/cluster_spec.h"

namespace im::orchestrator {
namespace {

// The number of a replica's name; 0: it is none.
uint32_t NumberOf(const HostSpec& host) {
  absl::string_view name = host.name;
  uint32_t number = 0;
  if (!absl::ConsumePrefix(&name, host.service) || !absl::ConsumePrefix(&name, "-") ||
      !absl::SimpleAtoi(name, &number))
    return 0;
  return number;
}

}  // namespace

void HostList::Fill(const Replica& replica, HostSpec& host) const {
  if (replica.number == 0) return;
  const HostSpec& base = bases_[replica.base];
  host.name = absl::StrCat(base.service, "-", replica.number);
  if (base.hostname == base.name) host.hostname = host.name;
  host.address = IpAddress::V4(replica.address);
}

HostSpec HostList::operator[](size_t i) const {
  if (!compact()) return whole_[i];
  HostSpec host = bases_[replicas_[i].base];
  Fill(replicas_[i], host);
  return host;
}

const HostSpec& HostList::const_iterator::operator*() const {
  if (!list_->compact()) return list_->whole_[at_];
  const Replica& replica = list_->replicas_[at_];
  if (replica.number == 0) return list_->bases_[replica.base];
  if (made_of_ != replica.base) {
    made_ = list_->bases_[replica.base];
    made_of_ = replica.base;
  }
  list_->Fill(replica, made_);
  return made_;
}

HostList::const_iterator HostList::begin() const { return const_iterator(*this, 0); }
HostList::const_iterator HostList::end() const { return const_iterator(*this, size()); }

std::vector<HostSpec>& HostList::Whole() {
  if (!compact()) return whole_;
  std::vector<HostSpec> whole;
  whole.reserve(size());
  for (size_t i = 0; i < size(); ++i) whole.push_back(std::as_const(*this)[i]);
  bases_.clear();
  replicas_.clear();
  whole_ = std::move(whole);
  return whole_;
}

void HostList::Compact() {
  if (compact() || whole_.empty()) return;
  std::vector<HostSpec> whole;
  whole.swap(whole_);
  replicas_.reserve(whole.size());
  HostSpec made;  // a copy of the last base
  for (HostSpec& host : whole) {
    if (!bases_.empty() && host.address.is_v4()) {
      const Replica replica{static_cast<uint32_t>(bases_.size() - 1), NumberOf(host),
                            host.address.v4()};
      Fill(replica, made);
      if (replica.number > 0 && made == host) {
        replicas_.push_back(replica);
        continue;
      }
    }
    made = host;
    replicas_.push_back({static_cast<uint32_t>(bases_.size()), 0, 0});
    bases_.push_back(std::move(host));
  }
  bases_.shrink_to_fit();
}

}  // namespace im::orchestrator
