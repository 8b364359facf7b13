// max_lifetime: how an instance is replaced by a fresh one before it is too old.
//
//   to disk     it is moved (activator_checkpoint.cc), also in the middle of its work
//   terminate   it is renewed: stopped, and a fresh one is started at once. A job, whose
//               completion others wait for, would never come to its end that way: it is
//               stopped and has failed, and its restart policy says what follows
//
// Two live instances of a host must never be: they would write to the same volumes under
// the same address. So the old one ends before the new one begins. What comes in between
// is held, as at any release that somebody needs the host after; callers see a slow
// network. The program has a moment of its own choice for it, if there is one:
//
//   ──up────────────────────┬──────────────────┬──▶ age
//                     kRenewalLeadMax    max_lifetime
//                     or a tenth
//   before the end   as soon as it is paused without connections it is released, unless
//                    it refuses
//   at the end       it is stopped whatever it does
//
// Who sleeps then, and may be released for that, is not started again before it is wanted.
// A fresh start that fails is a failed start as any other: callers are refused, and the
// next who wants the host starts it, after the back-off. An orchestrator that dies meanwhile
// leaves to the next one who was to be started again.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "orchestrator/activation.h"
#include "orchestrator/activator.h"

namespace im::orchestrator {
namespace {

constexpr Duration kRenewalLeadMax = std::chrono::seconds(60);

Duration RenewalLead(Duration max_lifetime) {
  return std::min<Duration>(max_lifetime / 10, kRenewalLeadMax);
}

}  // namespace

// It came up. Members of a group are not moved one by one, nor renewed.
void Activator::BeginLifetime(HostId host) {
  const std::optional<Duration> lifetime = table_.policy(host).max_lifetime;
  if (!lifetime || table_[host].guest || table_.GroupOf(host).has_value()) return;
  Activation& activation = Get(host);
  activation.ends_at = (activation.adopted ? activation.started_at : now_) + *lifetime;
}

// When something is to be done about its age.
Instant Activator::LifetimeDeadline(HostId host, const Activation& activation) const {
  if (activation.ends_at == kNever) return kNever;
  const HostPolicy& policy = table_.policy(host);
  switch (table_[host].state) {
    case HostState::kRunning:
      return activation.ends_at;
    case HostState::kPaused:
      if (policy.to_disk || activation.connected || FailsWhenOld(host)) return activation.ends_at;
      return activation.ends_at - RenewalLead(*policy.max_lifetime);
    case HostState::kReleasing:
      // Its time is over, too, while it is asked whether it may go.
      return !policy.to_disk && activation.goal < Goal::kRelease ? activation.ends_at : kNever;
    default:
      return kNever;
  }
}

void Activator::OnLifetimeOver(HostId host) {
  Activation& activation = Get(host);
  if (LifetimeDeadline(host, activation) > now_) return;
  const HostPolicy& policy = table_.policy(host);
  const HostState state = table_[host].state;
  const std::string reason = absl::StrCat("max_lifetime of ", DurationText(*policy.max_lifetime));
  // Who sleeps need not come back before it is wanted.
  const bool sleeps = state == HostState::kPaused && policy.release_after &&
                      !policy.always_running && !LeaderUp(host);
  if (policy.to_disk) {
    activation.ends_at = now_ + limits_.move_retry;
    return BeginRelease(host, sleeps ? Goal::kReleaseIfIdle : Goal::kMove, reason, false);
  }
  if (FailsWhenOld(host)) {
    activation.overdue = true;
    return BeginRelease(host, Goal::kRelease, OverdueText(host), /*error=*/false);
  }
  // A timer of its program would be lost.
  if (state != HostState::kReleasing) activation.renews = !sleeps || activation.timer_at;
  if (activation.ends_at <= now_) {
    BeginRelease(host, Goal::kRelease, reason, false);
  } else {
    BeginRelease(host, Goal::kReleaseIfIdle, absl::StrCat(reason, " is nearly over"), false);
  }
}

// Somebody needs its program to end by itself.
bool Activator::FailsWhenOld(HostId host) const {
  const HostPolicy& policy = table_.policy(host);
  if (!policy.max_lifetime || policy.to_disk) return false;
  for (const HostId other : table_.needed_by(host))
    for (const HostTable::Need& need : table_.needs(other))
      if (need.host == host && need.kind == HostTable::Need::Kind::kCompleted) return true;
  return false;
}

std::string Activator::OverdueText(HostId host) const {
  return absl::StrCat("it did not complete within its max_lifetime of ",
                      DurationText(*table_.policy(host).max_lifetime));
}

bool Activator::renews(HostId host) const {
  const auto it = activations_.find(host);
  return it != activations_.end() && it->second->renews;
}

// Its instance has ended. True: the next one is on its way, or waits for its turn.
bool Activator::StartRenewed(HostId host) {
  Activation& activation = Get(host);
  if (!activation.renews || activation.discard) return false;
  Want(host, MakeCause(Cause::Kind::kRestart, "max_lifetime"), /*for_ever=*/true);
  return true;
}

}  // namespace im::orchestrator
