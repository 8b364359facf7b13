// What happens to instances: they come up, pause, end.

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "orchestrator/activation.h"
#include "orchestrator/activator.h"

namespace im::orchestrator {

bool Activator::stale(HostId host, uint64_t incarnation) {
  if (table_.Contains(host) && table_[host].incarnation == incarnation &&
      HasInstance(table_[host].state))
    return false;
  ++counters_.stale_events;
  return true;
}

// ---- coming up --------------------------------------------------------------

void Activator::Adopt(HostId host, uint64_t incarnation, const Cause& cause, Instant now,
                      Duration age, bool renews) {
  Scope scope(*this, now);
  next_incarnation_ = std::max(next_incarnation_, incarnation + 1);
  AwaitInstance(host, incarnation, cause);
  Get(host).adopted = true;
  Get(host).started_at = now - age;
  Get(host).renews = renews;
  Settle(host);
}

std::vector<std::pair<HostId, Cause>> Activator::ToStart() const {
  std::vector<std::pair<HostId, Cause>> hosts;
  for (const auto& [host, activation] : activations_)
    if (activation->start_again) hosts.emplace_back(host, *activation->start_again);
  std::sort(hosts.begin(), hosts.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  return hosts;
}

void Activator::AdoptStart(HostId host, const Cause& cause, Instant now) {
  Scope scope(*this, now);
  Want(host, cause, /*for_ever=*/true);
  Settle(host);
}

uint64_t Activator::Expect(HostId host, const Cause& cause, Instant now) {
  Scope scope(*this, now);
  const uint64_t incarnation = next_incarnation_++;
  AwaitInstance(host, incarnation, cause);
  Settle(host);
  return incarnation;
}

void Activator::AwaitInstance(HostId host, uint64_t incarnation, const Cause& cause) {
  Activation& activation = Get(host);
  if (!activation.wanted) activation.woken_at = now_;
  activation.wanted = false;
  activation.want_until = kNever;
  activation.start_again.reset();
  Dequeue(activation);
  activation.cause = cause;
  activation.goal = Goal::kRun;
  activation.kills = 0;
  activation.thaws = 0;
  activation.kept = false;
  activation.unasked = false;
  activation.discard = false;
  activation.ready = activation.rising = activation.outsiders = activation.step_done = false;
  activation.adopted = false;
  activation.not_ready.clear();
  activation.called.clear();
  activation.wanted_since = kNever;
  activation.renews = activation.overdue = false;
  activation.ends_at = kNever;
  activation.timer_at.reset();
  activation.expires_at = kNever;
  activation.stage_deadline = now_ + table_.policy(host).start_timeout;
  Transition transition;
  transition.host = host;
  transition.to = table_[host].state == HostState::kCheckpointed ? HostState::kRestoring
                                                                 : HostState::kStarting;
  transition.incarnation = incarnation;
  transition.cause = cause;
  transition.at = now_;
  table_.Apply(transition);
  effects_.push_back({std::move(transition)});
  TouchGroup(host);
}

void Activator::LeaveStarting(Activation& activation) {
  if (!activation.holds_slot) return;
  activation.holds_slot = false;
  --starting_;
}

void Activator::BecomeUp(HostId host, const Cause& cause, absl::string_view reason,
                         Duration duration, bool error) {
  Activation& activation = Get(host);
  LeaveStarting(activation);
  activation.made_at = kNever;  // a checkpoint is used up
  activation.discard = false;
  activation.ready = activation.rising = activation.outsiders = false;
  activation.wanted = false;
  activation.want_until = kNever;
  activation.kept = activation.renews = false;
  activation.called.clear();
  activation.stage_deadline = kNever;
  Move(host, HostState::kRunning, cause, reason, error, duration);
  LookAgainAtWhoNeeds(host);
  PacketBatch held = held_.TakeToDeliver(host, now_);
  if (held.empty()) return;
  counters_.delivered += held.size();
  effects_.push_back({Effect::Delivery{host, std::move(held)}});
}

void Activator::BecomePaused(HostId host, const Report& report) {
  const HostPolicy& policy = table_.policy(host);
  Activation& activation = Get(host);
  activation.timer_at.reset();
  if (report.timer_in) activation.timer_at = now_ + *report.timer_in;
  activation.connected = report.connections > 0;
  const bool timer_allows =
      !report.timer_in ||
      (policy.to_disk && policy.release_after &&
       *report.timer_in >= *policy.release_after + limits_.timer_on_disk_min);
  const bool released = policy.release_after && !policy.always_running && timer_allows;
  activation.stage_deadline =
      released ? now_ + std::max(*policy.release_after - report.paused_for, Duration(0)) : kNever;
  Move(host, HostState::kPaused, Cause(), report.suspended ? "im suspend" : "idle");
}

void Activator::OnInstanceStatus(HostId host, uint64_t incarnation, const Report& report,
                                 Instant now) {
  using State = Report::State;
  Scope scope(*this, now);
  if (stale(host, incarnation)) return;
  Activation& activation = Get(host);
  const HostState state = table_[host].state;
  const bool coming_up = state == HostState::kStarting || state == HostState::kRestoring;
  if (!report.not_ready.empty()) {
    // Nothing else of it counts. That it ends is an end of the start.
    if (coming_up) activation.not_ready = report.not_ready;
    return;
  }
  const bool thawed = report.thaws > activation.thaws;
  if (thawed) {
    // To be let run after a restore is part of that.
    const uint64_t counted = report.thaws - activation.thaws - (activation.rising ? 1 : 0);
    table_.AddThaws(host, counted);
    counters_.thaws += counted;
    activation.thaws = report.thaws;
  }
  if (report.state == State::kReleasing &&
      (state == HostState::kRunning || state == HostState::kPaused ||
       (coming_up && report.program_ended))) {
    if (coming_up) {
      // It was so short that we hear of both at once. What is held it refuses.
      activation.up_since = now;
      BecomeUp(host, activation.cause, "", now - activation.woken_at);
    }
    // What comes from now on is held, until we know how it ended.
    BeginRelease(host, Goal::kRelease, "its program ends", /*error=*/false);
    activation.unasked = true;
    return Settle(host);
  }
  switch (state) {
    case HostState::kStarting:
    case HostState::kRestoring:
      if (report.state == State::kReleasing) {
        if (activation.adopted && !table_[host].guest) FollowOut(host);
        break;
      }
      if (state == HostState::kRestoring && GoesToDiskTogether(host) &&
          report.disk != Report::Disk::kNotHeld) {
        OnRestoredAndHeld(host);
        break;
      }
      activation.up_since = now;
      BeginLifetime(host);
      BecomeUp(host, activation.cause, "", now - activation.woken_at);
      if (report.state == State::kPaused) {
        BecomePaused(host, report);
      } else if (activation.adopted) {
        WakeMissingFollowers(host);
      }
      break;
    case HostState::kRunning:
      // Restored, it has not heard yet that it may run, or waits for its fellows' answers.
      if (report.state == State::kPaused && activation.rising && !thawed &&
          (report.waking || report.disk != Report::Disk::kNotHeld))
        break;
      activation.rising = false;
      if (report.state == State::kPaused) BecomePaused(host, report);
      break;
    case HostState::kPaused:
      if (report.state == State::kRunning || (report.state == State::kPaused && thawed)) {
        BecomeUp(host, report.cause, "", report.thaw);
        WakeFollowers(host, /*only_wake_with=*/true);
        WakeFellows(host, report.cause);
        // It ran and paused again between two reports.
        if (report.state == State::kPaused) BecomePaused(host, report);
      }
      break;
    case HostState::kReleasing: {
      if (!report.goal_acknowledged || report.state == State::kReleasing) break;
      if (GoesToDiskTogether(host) && OnDiskStep(host, report)) break;
      const bool asked = activation.goal >= Goal::kReleaseIfIdle && activation.goal < Goal::kRelease;
      const bool refused = asked && (report.state == State::kReleaseRefused ||
                                     report.state == State::kRunning ||
                                     !report.not_checkpointed.empty());
      const bool cancelled = activation.goal == Goal::kRun;
      if (!refused && !cancelled) break;
      const Cause cause = cancelled ? activation.cause : report.cause;
      activation.goal = Goal::kRun;
      if (refused && !report.not_checkpointed.empty()) {
        BecomeUp(host, Cause(), absl::StrCat("not checkpointed: ", report.not_checkpointed),
                 Duration(0), /*error=*/true);
      } else {
        BecomeUp(host, cause, refused ? "release refused: in use" : "release cancelled",
                 cancelled ? now - activation.woken_at : Duration(0));
        if (refused) WakeFellows(host, cause);
      }
      if (report.state == State::kPaused) BecomePaused(host, report);
      break;
    }
    case HostState::kImaginary:
    case HostState::kCheckpointed:
      IM_CHECK(false);  // stale() sorted these out
  }
  Settle(host);
}

// An earlier orchestrator has asked the instance to go. On its way to disk it may be
// longer than a start may take, and must not be killed for that.
void Activator::FollowOut(HostId host) {
  Activation& activation = Get(host);
  activation.stage_deadline = now_ + table_.policy(host).stop_timeout;
  Move(host, HostState::kReleasing, Cause(), "was on its way out");
  WantFromStart(host);
}

// What was Starting is not any more: whoever wanted it meanwhile waits for the next one.
void Activator::WantFromStart(HostId host) {
  Activation& activation = Get(host);
  if (activation.wanted_since == kNever) return;
  Want(host, activation.cause);
  activation.woken_at = activation.wanted_since;
  activation.want_until = activation.wanted_since + table_.policy(host).start_timeout;
}

// ---- ending -----------------------------------------------------------------

void Activator::OnInstanceEnded(HostId host, uint64_t incarnation, const End& end, Instant now) {
  Scope scope(*this, now);
  if (stale(host, incarnation)) return;
  Activation& activation = Get(host);
  const HostTable::Host& row = table_[host];
  const HostState from = row.state;
  LeaveStarting(activation);
  activation.stage_deadline = kNever;
  activation.kept = activation.ready = activation.rising = false;
  if (end.kind == End::Kind::kExited && !table_.needed_by(host).empty()) completed_.insert(host);

  const bool on_disk = (end.kind == End::Kind::kCheckpointed || end.checkpoint_kept) &&
                       !activation.discard && !row.guest;
  // Taken back while it was on its way there, or was stopped for its age.
  const bool was_going =
      (from == HostState::kStarting || from == HostState::kRunning || from == HostState::kPaused) &&
      (on_disk || activation.renews);
  if (was_going) {
    Move(host, HostState::kReleasing, Cause(),
         on_disk ? "was going to disk" : "was on its way out");
    if (from == HostState::kStarting) WantFromStart(host);
  }
  const bool overdue = activation.overdue && end.kind != End::Kind::kExited;
  if (was_going || (from == HostState::kReleasing && !activation.unasked && !overdue)) {
    if (on_disk) {
      BecomeCheckpointed(host, Duration(0), end.timer_in, end.message, /*error=*/false);
    } else {
      activation.made_at = kNever;
      const bool lost = table_.policy(host).to_disk && end.kind == End::Kind::kFailed;
      Move(host, HostState::kImaginary, Cause(), end.message, lost);
    }
    if (StartRenewed(host)) {
      // What is held waits for it.
    } else if (activation.wanted) {
      TryStart(host);
    } else if (on_disk && GoesToDiskTogether(host) && !activation.outsiders &&
               !end.restore_at_once) {
      counters_.useless += held_.Take(host).size();  // TCP says it again
    } else if (on_disk && (held_.Has(host) || end.restore_at_once)) {
      // Of connections that it still has, or it was in use when it was moved.
      if (activation.goal == Goal::kMove) {
        Want(host, MakeCause(Cause::Kind::kRestart, "max_lifetime"), /*for_ever=*/true);
      } else {
        Want(host, MakeCause(Cause::Kind::kData));
      }
    } else {
      RefuseHeld(host, "the connection is gone", /*wake_over=*/false);
      WantAgain(host);
    }
    LookAgainAtWhoNeeds(host);
    Settle(host);
    return;
  }

  if (from == HostState::kRestoring) {
    OnRestoreFailed(host, end);
    Settle(host);
    return;
  }

  if (from == HostState::kStarting) {
    const std::string reason = absl::StrCat("start failed: ", end.message);
    if (!row.guest) activation.backoff.Fail(limits_.backoff, reason, now);
    Move(host, HostState::kImaginary, Cause(), reason, /*error=*/true);
    // It has done, too soon for us to see it run.
    if (completed_.contains(host)) LookAgainAtWhoNeeds(host);
    RefuseHeld(host, reason, /*wake_over=*/true);
    WantAgain(host);
    Settle(host);
    return;
  }

  // Nobody asked for it, or its time was over.
  const HostPolicy& policy = table_.policy(host);
  const bool failed = overdue || end.kind == End::Kind::kFailed;
  const std::string why = overdue ? OverdueText(host) : end.message;
  const bool stable = now - activation.up_since >= limits_.stable_after;
  if (stable) {
    activation.backoff.Reset();
    activation.restarts = 0;
  }
  if (!row.guest && (failed || !stable))
    activation.backoff.Fail(limits_.backoff, why, now);
  Move(host, HostState::kImaginary, Cause(), why, failed);
  if (activation.wanted) {
    TryStart(host);
  } else {
    RefuseHeld(host, "the connection is gone", /*wake_over=*/false);
  }
  WantAgain(host);
  const bool restart = policy.restart == HostPolicy::Restart::kAlways ||
                       (policy.restart == HostPolicy::Restart::kOnFailure && failed);
  if (restart && !activation.wanted && !row.guest && shutdown_reason_.empty() &&
      row.state == HostState::kImaginary &&
      (policy.restart_attempts_max == 0 || activation.restarts < policy.restart_attempts_max)) {
    ++activation.restarts;
    Want(host, MakeCause(Cause::Kind::kRestart, why), /*for_ever=*/true);
  }
  if (failed && !activation.wanted && row.state == HostState::kImaginary) {
    FailWhoNeeds(host, why);
  } else {
    LookAgainAtWhoNeeds(host);
  }
  Settle(host);
}

}  // namespace im::orchestrator
