// The Activator's records and deadlines, and the telling of what was decided.

#include <algorithm>

#include "orchestrator/activation.h"
#include "orchestrator/activator.h"

namespace im::orchestrator {

Activator::Activation& Activator::Get(HostId host) {
  std::unique_ptr<Activation>& activation = activations_[host];
  if (!activation) activation = std::make_unique<Activation>();
  return *activation;
}

void Activator::Settle(HostId host) {
  const auto it = activations_.find(host);
  if (it == activations_.end()) return;
  Activation& activation = *it->second;
  const bool at_rest = table_[host].state == HostState::kImaginary && !activation.wanted;
  if (at_rest && activation.stage_deadline == kNever && activation.backoff.failures() > 0)
    activation.stage_deadline = activation.backoff.forget_at();
  const bool nothing_left = at_rest && activation.backoff.failures() == 0;
  Instant deadline = activation.stage_deadline;
  if (activation.wanted) deadline = std::min(deadline, activation.want_until);
  if (table_[host].state == HostState::kCheckpointed) {
    deadline = std::min(deadline, activation.timer_at.value_or(kNever));
    if (!activation.wanted) deadline = std::min(deadline, activation.expires_at);
  }
  deadline = std::min(deadline, LifetimeDeadline(host, activation));
  if (nothing_left) deadline = kNever;
  if (deadline != activation.deadline) {
    if (activation.deadline != kNever) deadlines_.erase({activation.deadline, host});
    if (deadline != kNever) deadlines_.emplace(deadline, host);
    activation.deadline = deadline;
  }
  if (nothing_left) activations_.erase(it);
}

void Activator::Move(HostId host, HostState to, const Cause& cause, absl::string_view reason,
                     bool error, Duration duration) {
  Transition transition;
  transition.host = host;
  transition.to = to;
  transition.cause = cause;
  transition.reason = std::string(reason);
  transition.error = error;
  transition.duration = duration;
  transition.at = now_;
  table_.Apply(transition);
  effects_.push_back({std::move(transition)});
  TouchGroup(host);
  // A follower that is due for release was kept by this host.
  if (to == HostState::kRunning || to == HostState::kStarting || to == HostState::kRestoring)
    return;
  LookAgainAtFellows(host);
  for (const HostTable::Follower& follower : table_.followers(host)) {
    const auto it = activations_.find(follower.host);
    if (it == activations_.end() || !it->second->kept) continue;
    it->second->stage_deadline = now_;
    Settle(follower.host);
  }
}

void Activator::Drain() {
  while (true) {
    while (starting_ < limits_.starting_max && !start_queue_.empty()) {
      const HostId host = start_queue_.begin()->second;
      Activation& activation = Get(host);
      Dequeue(activation);
      TryStart(host);
      Settle(host);
    }
    if (effects_.empty()) return;
    std::vector<Effect> effects = std::move(effects_);
    effects_.clear();
    for (Effect& effect : effects) Run(effect);
  }
}

void Activator::Run(Effect& effect) {
  struct Visitor {
    Activator& self;
    void operator()(Transition& t) { self.delegate_.OnTransition(t); }
    void operator()(Effect::Start& s) {
      self.delegate_.StartInstance(s.host, s.incarnation, s.cause);
    }
    void operator()(Effect::NewGoal& g) {
      self.delegate_.SetGoal(g.host, g.incarnation, g.goal, g.cause);
    }
    void operator()(Effect::Delivery& d) {
      self.delegate_.Deliver(d.host, std::move(d.packets));
    }
    void operator()(Effect::Refusal& r) {
      self.delegate_.Refuse(r.host, std::move(r.packets), r.reason, r.wake_over);
    }
    void operator()(Effect::Wait& w) { self.delegate_.OnWait(w.host, w.reason); }
    void operator()(Effect::Follow& f) {
      if (!self.shutdown_reason_.empty() || !self.table_.Contains(f.host)) return;
      // A follower that cannot be woken says so itself, by its transitions.
      (void)self.WakeOne(f.host, f.cause);
    }
    void operator()(Effect::Look& l) { self.LookAtGroup(l.group); }
  };
  std::visit(Visitor{*this}, effect.what);
}

bool Activator::all_ended() const {
  return table_.count(HostState::kImaginary) + table_.count(HostState::kCheckpointed) ==
         table_.size();
}

Activator::Outlook Activator::outlook(HostId host, Instant now) const {
  Outlook outlook;
  const auto it = activations_.find(host);
  if (it == activations_.end()) return outlook;
  const Activation& activation = *it->second;
  outlook.failures = activation.backoff.failures();
  if (!HasInstance(table_[host].state) && activation.backoff.waiting(now))
    outlook.retry_at = activation.backoff.retry_at();
  outlook.wake_waits = activation.wanted;
  if (table_[host].state == HostState::kStarting) outlook.not_ready = activation.not_ready;
  if (table_[host].state == HostState::kCheckpointed) {
    outlook.timer_at = activation.timer_at;
    if (activation.expires_at != kNever) outlook.expires_at = activation.expires_at;
  }
  if (activation.wanted) outlook.memory_wait = activation.not_admitted;
  if (activation.wanted && activation.needs_wait) outlook.needs = NeedReason(host);
  if (table_[host].state == HostState::kPaused) {
    if (activation.kept) outlook.kept_by = LeaderUp(host);
    outlook.timer_at = activation.timer_at;
    if (activation.kept && !outlook.kept_by) outlook.kept_by_fellow = FellowUp(host);
    if (activation.stage_deadline != kNever) outlook.release_at = activation.stage_deadline;
  }
  outlook.awaits = FellowAwaited(host);
  if (table_[host].state == HostState::kRunning || table_[host].state == HostState::kPaused)
    if (activation.ends_at != kNever) outlook.ends_at = activation.ends_at;
  outlook.fails_then = FailsWhenOld(host);
  return outlook;
}

absl::string_view GoalName(Activator::Goal goal) {
  switch (goal) {
    case Activator::Goal::kRun:
      return "run";
    case Activator::Goal::kStay:
      return "stay";
    case Activator::Goal::kLoosen:
      return "loosen";
    case Activator::Goal::kReleaseIfIdle:
      return "release if idle";
    case Activator::Goal::kMove:
      return "move";
    case Activator::Goal::kDump:
      return "dump";
    case Activator::Goal::kCommit:
      return "commit";
    case Activator::Goal::kRelease:
      return "release";
    case Activator::Goal::kKill:
      return "kill";
  }
  return "unknown";
}

}  // namespace im::orchestrator
