// Needs: what must hold of other hosts before one is started (depends_on with a condition).
//
// A wake of a host waits, without a slot, while one of its needs does not hold. Whatever
// it needs and nobody has started is woken for it. It is looked at again whenever one of
// those came up or ended. What fails, and is not tried again by itself, fails the wakes
// that wait for it: for those hosts that is a failed start, with a back-off of their own.
//
//   kUp         holds while the other is Running or Paused. Only the start waits for it:
//               later the host's own traffic wakes the other, as anybody's does
//   kCompleted  holds for good once the other's program has ended with exit code 0. Its
//               own restart policy says whether a failure is final
//
// A host that comes back from disk was started before: it needs nothing.

#include <utility>

#include "absl/strings/str_cat.h"
#include "orchestrator/activation.h"
#include "orchestrator/activator.h"

namespace im::orchestrator {

using Need = HostTable::Need;

bool Activator::Holds(const Need& need) const {
  if (need.kind == Need::Kind::kCompleted) return completed_.contains(need.host);
  const HostState state = table_[need.host].state;
  return state == HostState::kRunning || state == HostState::kPaused;
}

// The host is wanted, and has no instance.
bool Activator::NeedsHold(HostId host) {
  Activation& activation = Get(host);
  const bool waited = std::exchange(activation.needs_wait, false);
  if (table_[host].state != HostState::kImaginary) return true;
  for (const Need& need : table_.needs(host)) {
    if (Holds(need)) continue;
    activation.needs_wait = true;
    const HostState state = table_[need.host].state;
    const bool up = need.kind == Need::Kind::kUp;
    // One that is to complete, and is on disk, waits there for something.
    const bool woken = state == HostState::kImaginary || (up && !HasInstance(state)) ||
                       (up && state == HostState::kReleasing);
    if (!woken) continue;
    const auto it = activations_.find(need.host);
    if (it != activations_.end() && activation.cause.kind == Cause::Kind::kUser)
      it->second->backoff.EndWait(now_);
    effects_.push_back(
        {Effect::Follow{need.host, MakeCause(Cause::Kind::kDependsOn, table_[host].name)}});
  }
  if (!activation.needs_wait) return true;
  activation.stage_deadline = kNever;
  if (!waited)
    effects_.push_back({Effect::Wait{host, absl::StrCat("it needs ", NeedReason(host))}});
  return false;
}

// "db to be up".
std::string Activator::NeedText(const Need& need) const {
  return absl::StrCat(table_[need.host].name,
                      need.kind == Need::Kind::kUp ? " to be up" : " to have completed");
}

// The first that does not hold, and how it stands.
std::string Activator::NeedReason(HostId host) const {
  for (const Need& need : table_.needs(host)) {
    if (Holds(need)) continue;
    const std::string stands = outlook(need.host, now_).not_ready;
    return absl::StrCat(NeedText(need), stands.empty() ? "" : absl::StrCat(" (", stands, ")"));
  }
  return "nothing";
}

// `host` came up, or ended.
void Activator::LookAgainAtWhoNeeds(HostId host) {
  if (!shutdown_reason_.empty()) return;
  for (const HostId other : table_.needed_by(host)) {
    const auto it = activations_.find(other);
    if (it == activations_.end() || !it->second->wanted || !it->second->needs_wait) continue;
    TryStart(other);
    Settle(other);
  }
}

// Nothing tries any more to have `host` do what others wait for.
void Activator::FailWhoNeeds(HostId host, absl::string_view reason) {
  if (!shutdown_reason_.empty()) return;
  for (const HostId other : table_.needed_by(host)) {
    const auto it = activations_.find(other);
    if (it == activations_.end() || !it->second->wanted || !it->second->needs_wait) continue;
    for (const Need& need : table_.needs(other)) {
      if (need.host != host || Holds(need)) continue;
      const std::string why = absl::StrCat("it needs ", NeedText(need), ": ", reason);
      it->second->backoff.Fail(limits_.backoff, why, now_);
      table_.RecordError(other, why);
      GiveUp(other, why);
      Settle(other);
      break;
    }
  }
}

}  // namespace im::orchestrator
