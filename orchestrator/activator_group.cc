// Groups: members are started together and released together. That they are
// paused and thawed together is GroupSuspender's part.

#include "orchestrator/activation.h"
#include "orchestrator/activator.h"

namespace im::orchestrator {

// A member was woken, by others than its group: those that have no instance, or
// are about to lose it, are wanted too.
void Activator::WakeFellows(HostId host, const Cause& cause) {
  const std::optional<uint32_t> group = table_.GroupOf(host);
  if (!group.has_value() || cause.kind == Cause::Kind::kGroup) return;
  for (const HostId fellow : table_.groups()[*group].members) {
    const HostState state = table_[fellow].state;
    if (fellow == host || (HasInstance(state) && state != HostState::kReleasing)) continue;
    effects_.push_back(
        {Effect::Follow{fellow, MakeCause(Cause::Kind::kGroup, table_[host].name)}});
  }
}

// A member of its group that is not due for release.
std::optional<HostId> Activator::FellowUp(HostId host) const {
  const std::optional<uint32_t> group = table_.GroupOf(host);
  if (!group.has_value()) return std::nullopt;
  for (const HostId fellow : table_.groups()[*group].members) {
    if (fellow == host) continue;
    const HostState state = table_[fellow].state;
    if (state == HostState::kStarting || state == HostState::kRestoring ||
        state == HostState::kRunning)
      return fellow;
    if (state != HostState::kPaused) continue;
    const auto it = activations_.find(fellow);
    const bool due = it->second->kept || it->second->stage_deadline <= now_;
    if (!due || LeaderUp(fellow)) return fellow;
  }
  return std::nullopt;
}

// Those that are due for release and waited for `host` may be released now.
void Activator::LookAgainAtFellows(HostId host) {
  const std::optional<uint32_t> group = table_.GroupOf(host);
  if (!group.has_value()) return;
  for (const HostId fellow : table_.groups()[*group].members) {
    const auto it = activations_.find(fellow);
    if (fellow == host || it == activations_.end() || !it->second->kept) continue;
    it->second->stage_deadline = now_;
    Settle(fellow);
  }
}

// What a member sends that is asleep, or is being stopped, is a rest of its
// heartbeats: no reason to start another.
bool Activator::FromSleepingFellow(HostId host, const IpAddress& source) const {
  const std::optional<uint32_t> group = table_.GroupOf(host);
  if (!group.has_value()) return false;
  const std::optional<HostId> sender = table_.FindByAddress(source);
  if (!sender.has_value() || table_.GroupOf(*sender) != group) return false;
  const HostState state = table_[*sender].state;
  return state != HostState::kRunning && state != HostState::kStarting &&
         state != HostState::kRestoring;
}

}  // namespace im::orchestrator
