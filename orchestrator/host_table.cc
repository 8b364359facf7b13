#include "orchestrator/host_table.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace im::orchestrator {
namespace {

const std::vector<HostTable::Follower>& NoFollowers() {
  static const auto* const none = new std::vector<HostTable::Follower>;
  return *none;
}

const std::vector<HostId>& NoHosts() {
  static const auto* const none = new std::vector<HostId>;
  return *none;
}

}  // namespace

absl::StatusOr<HostId> HostTable::Add(const HostConfig& config, Instant now) {
  IM_CHECK(config.policy.start_timeout > Duration(0) && config.policy.stop_timeout > Duration(0));
  if (const auto it = by_address_.find(config.address); it != by_address_.end())
    return absl::AlreadyExistsError(absl::StrCat("address ", config.address.ToString(), " of ",
                                                 config.name, " belongs to ",
                                                 hosts_[it->second].name));
  if (by_name_.contains(config.name))
    return absl::AlreadyExistsError(absl::StrCat("there is a host ", config.name, " already"));
  if (size() >= kHostsMax)
    return absl::ResourceExhaustedError(absl::StrCat("more than ", kHostsMax, " hosts"));
  HostId id;
  if (!free_.empty()) {
    id = free_.front();
    free_.pop_front();
  } else {
    id = static_cast<HostId>(hosts_.size());
    hosts_.emplace_back();
  }
  Host& host = hosts_[id];
  host = Host();
  host.name = config.name;
  host.address = config.address;
  host.guest = config.guest;
  host.policy = InternPolicy(config.policy);
  host.since = now;
  by_name_.emplace(host.name, id);
  by_address_.emplace(host.address, id);
  ++counts_[static_cast<size_t>(host.state)];
  return id;
}

void HostTable::RemoveGuest(HostId id) {
  IM_CHECK(Contains(id));
  Host& host = hosts_[id];
  IM_CHECK(host.guest && host.state == HostState::kImaginary);
  IM_CHECK(!followers_.contains(id) && !leaders_.contains(id));
  by_name_.erase(host.name);
  by_address_.erase(host.address);
  --counts_[static_cast<size_t>(host.state)];
  host = Host();
  host.removed = true;
  free_.push_back(id);
}

void HostTable::AddFollower(HostId leader, HostId follower, Cause::Kind kind) {
  IM_CHECK(Contains(leader) && Contains(follower) && leader != follower);
  followers_[leader].push_back({follower, kind});
  if (kind == Cause::Kind::kWakeWith) leaders_[follower].push_back(leader);
}

const std::vector<HostTable::Follower>& HostTable::followers(HostId leader) const {
  const auto it = followers_.find(leader);
  return it == followers_.end() ? NoFollowers() : it->second;
}

const std::vector<HostId>& HostTable::leaders(HostId follower) const {
  const auto it = leaders_.find(follower);
  return it == leaders_.end() ? NoHosts() : it->second;
}

void HostTable::AddNeed(HostId host, const Need& need) {
  IM_CHECK(Contains(host) && Contains(need.host) && host != need.host);
  needs_[host].push_back(need);
  needed_by_[need.host].push_back(host);
}

const std::vector<HostTable::Need>& HostTable::needs(HostId host) const {
  static const auto* none = new std::vector<Need>;
  const auto it = needs_.find(host);
  return it == needs_.end() ? *none : it->second;
}

const std::vector<HostId>& HostTable::needed_by(HostId host) const {
  const auto it = needed_by_.find(host);
  return it == needed_by_.end() ? NoHosts() : it->second;
}

std::optional<HostId> HostTable::FindByName(absl::string_view name) const {
  const auto it = by_name_.find(name);
  if (it == by_name_.end()) return std::nullopt;
  return it->second;
}

std::optional<HostId> HostTable::FindByAddress(const IpAddress& address) const {
  const auto it = by_address_.find(Plain(address));
  if (it == by_address_.end()) return std::nullopt;
  return it->second;
}

void HostTable::AddGroup(std::string name, std::vector<HostId> members) {
  IM_CHECK(members.size() >= 2);
  for (const HostId member : members) {
    const bool first = group_of_.emplace(member, static_cast<uint32_t>(groups_.size())).second;
    IM_CHECK(first);
  }
  groups_.push_back({std::move(name), std::move(members)});
}

std::optional<uint32_t> HostTable::GroupOf(HostId id) const {
  const auto it = group_of_.find(id);
  if (it == group_of_.end()) return std::nullopt;
  return it->second;
}

const HostTable::Host& HostTable::operator[](HostId id) const {
  IM_CHECK(Contains(id));
  return hosts_[id];
}

std::string HostTable::PeerAt(const IpAddress& address) const {
  const auto it = peers_.find(address);
  return it == peers_.end() ? std::string() : it->second;
}

// At most kPeersMax, and asked for seldom.
std::optional<IpAddress> HostTable::FindPeer(absl::string_view name) const {
  for (const auto& [address, peer] : peers_)
    if (peer == name) return address;
  return std::nullopt;
}

std::string HostTable::NameOf(const IpAddress& address) const {
  const std::optional<HostId> id = FindByAddress(address);
  if (id) return hosts_[*id].name;
  std::string peer = PeerAt(Plain(address));
  return peer.empty() ? address.ToString() : peer;
}

void HostTable::Apply(Transition& transition) {
  IM_CHECK(Contains(transition.host));
  Host& host = hosts_[transition.host];
  IM_CHECK(TransitionAllowed(host.state, transition.to));
  transition.from = host.state;
  if (transition.to == HostState::kStarting || transition.to == HostState::kRestoring) {
    // Incarnations are never used twice.
    IM_CHECK(transition.incarnation > host.incarnation);
    host.incarnation = transition.incarnation;
    SetCause(transition.host, transition.cause);
    if (transition.to == HostState::kStarting) ++MutableHistory(transition.host).starts;
  } else {
    transition.incarnation = host.incarnation;
  }
  --counts_[static_cast<size_t>(host.state)];
  host.state = transition.to;
  host.since = transition.at;
  ++counts_[static_cast<size_t>(host.state)];
  if (transition.error) RecordError(transition.host, transition.reason);
  if (transition.to != HostState::kRunning) return;
  History& history = MutableHistory(transition.host);
  history.wake_duration = transition.duration;
  if (transition.from == HostState::kStarting) {
    history.wake_kind = History::WakeKind::kCold;
  } else if (transition.from == HostState::kRestoring) {
    history.wake_kind = History::WakeKind::kRestore;
  } else if (transition.from == HostState::kPaused) {
    history.wake_kind = History::WakeKind::kThaw;
    SetCause(transition.host, transition.cause);
  } else if (transition.from == HostState::kReleasing) {
    SetCause(transition.host, transition.cause);
  }
}

void HostTable::SetCause(HostId id, const Cause& cause) {
  History& history = MutableHistory(id);
  history.cause = cause;
  history.cause_text =
      CauseText(cause, [this](const IpAddress& address) { return NameOf(address); });
}

void HostTable::AddThaws(HostId id, uint64_t thaws) { MutableHistory(id).thaws += thaws; }

void HostTable::RecordError(HostId id, absl::string_view error) {
  MutableHistory(id).last_error = std::string(error);
}

uint32_t HostTable::InternPolicy(const HostPolicy& policy) {
  // A cluster has a handful of different ones; the newest is the likeliest.
  for (size_t i = policies_.size(); i-- > 0;)
    if (policies_[i] == policy) return static_cast<uint32_t>(i);
  policies_.push_back(policy);
  return static_cast<uint32_t>(policies_.size() - 1);
}

History& HostTable::MutableHistory(HostId id) {
  IM_CHECK(Contains(id));
  std::unique_ptr<History>& history = hosts_[id].history;
  if (!history) history = std::make_unique<History>();
  return *history;
}

}  // namespace im::orchestrator
