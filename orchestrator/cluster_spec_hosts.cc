// HostList (cluster_spec.h).

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/check.h"
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

void HostList::push_back(HostSpec host) {
  if (!compact()) {
    whole_.push_back(std::move(host));
    return;
  }
  places_.push_back({static_cast<uint32_t>(bases_.size()), 0, 0});
  bases_.push_back(std::move(host));
}

void HostList::AddReplica(uint32_t number) {
  IM_CHECK(compact() && !bases_.empty() && number > 0);
  places_.push_back({static_cast<uint32_t>(bases_.size() - 1), number, 0});
}

void HostList::SetAddress(size_t i, const IpAddress& address) {
  if (!compact()) {
    whole_[i].address = address;
  } else if (places_[i].number == 0) {
    bases_[places_[i].base].address = address;
  } else {
    places_[i].address = address.v4();
  }
}

HostSpec& HostList::Apart(size_t i) {
  if (!compact()) return whole_[i];
  Place& place = places_[i];
  // Those that a base is shared with follow it.
  const bool shared = i + 1 < places_.size() && places_[i + 1].base == place.base;
  if (place.number > 0 || shared) {
    HostSpec host = std::as_const(*this)[i];
    place = {static_cast<uint32_t>(bases_.size()), 0, 0};
    bases_.push_back(std::move(host));
    may_shrink_ = true;
  }
  return bases_[place.base];
}

void HostList::Fill(const Place& place, HostSpec& host) const {
  if (place.number == 0) return;
  const HostSpec& base = bases_[place.base];
  host.name = absl::StrCat(base.service, "-", place.number);
  if (base.hostname == base.name) host.hostname = host.name;
  host.address = IpAddress::V4(place.address);
}

HostSpec HostList::operator[](size_t i) const {
  if (!compact()) return whole_[i];
  HostSpec host = bases_[places_[i].base];
  Fill(places_[i], host);
  return host;
}

const HostSpec& HostList::const_iterator::operator*() const {
  if (!list_->compact()) return list_->whole_[at_];
  const Place& place = list_->places_[at_];
  if (place.number == 0) return list_->bases_[place.base];
  if (made_of_ != place.base) {
    made_ = list_->bases_[place.base];
    made_of_ = place.base;
  }
  list_->Fill(place, made_);
  return made_;
}

HostList::const_iterator HostList::begin() const { return const_iterator(*this, 0); }
HostList::const_iterator HostList::end() const { return const_iterator(*this, size()); }

std::vector<HostSpec>& HostList::Whole() {
  if (!compact()) return whole_;
  std::vector<HostSpec> whole;
  whole.reserve(size());
  for (const HostSpec& host : std::as_const(*this)) whole.push_back(host);
  bases_.clear();
  places_.clear();
  whole_ = std::move(whole);
  return whole_;
}

void HostList::Compact() {
  if (compact() && !may_shrink_) return;
  HostList list;
  HostSpec made;  // a copy of the last base
  for (const HostSpec& host : std::as_const(*this)) {
    if (!list.bases_.empty() && host.address.is_v4()) {
      const Place place{static_cast<uint32_t>(list.bases_.size() - 1), NumberOf(host),
                        host.address.v4()};
      list.Fill(place, made);
      if (place.number > 0 && made == host) {
        list.places_.push_back(place);
        continue;
      }
    }
    made = host;
    list.push_back(host);
  }
  list.bases_.shrink_to_fit();
  list.places_.shrink_to_fit();
  *this = std::move(list);
}

}  // namespace im::orchestrator
