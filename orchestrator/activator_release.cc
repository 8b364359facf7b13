// Releases: of idle hosts, by users, of all; and what follows if an instance
// does not end.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "orchestrator/activation.h"
#include "orchestrator/activator.h"

namespace im::orchestrator {

void Activator::SetGoal(HostId host, Goal goal, const Cause& cause) {
  Get(host).goal = goal;
  Get(host).step_done = false;
  effects_.push_back({Effect::NewGoal{host, table_[host].incarnation, goal, cause}});
}

// Of one that comes up: nobody knows whether there is a program to be asked, unless it has
// said that it is not ready.
Activator::Goal Activator::EndOfStart(HostId host) {
  return Get(host).not_ready.empty() ? Goal::kKill : Goal::kRelease;
}

void Activator::BeginRelease(HostId host, Goal goal, absl::string_view reason, bool error) {
  Activation& activation = Get(host);
  LeaveStarting(activation);
  activation.kept = false;
  activation.ready = activation.thawed = activation.disk_error = false;
  activation.disk_reason.clear();
  activation.kills = goal == Goal::kKill ? 1 : 0;
  activation.stage_deadline =
      now_ + (goal == Goal::kKill ? limits_.kill_retry_first : table_.policy(host).stop_timeout);
  if (table_[host].state != HostState::kReleasing)
    Move(host, HostState::kReleasing, Cause(), reason, error);
  TouchGroup(host);
  SetGoal(host, goal, MakeCause(Cause::Kind::kUnknown, reason));
}

// Paused for release_after, or Releasing for stop_timeout.
void Activator::OnReleaseDeadline(HostId host) {
  Activation& activation = Get(host);
  const HostPolicy& policy = table_.policy(host);
  if (table_[host].state == HostState::kPaused) {
    // Move() of the leader, or the last of the group, comes back to it.
    activation.kept = LeaderUp(host) || FellowUp(host);
    if (activation.kept) return;
    BeginRelease(host, Goal::kReleaseIfIdle,
                 absl::StrCat("idle for ", DurationText(*policy.release_after)), false);
    return;
  }
  const std::string late = DurationText(policy.stop_timeout);
  switch (activation.goal) {
    case Goal::kReleaseIfIdle:
    case Goal::kDump:
      if (GoesToDiskTogether(host)) {
        if (activation.step_done) return;  // another did not
        CallOff(host, absl::StrCat("no answer within ", late));
        return;
      }
      BeginRelease(host, Goal::kRelease, absl::StrCat("no answer within ", late), false);
      return;
    case Goal::kMove:
      // It is in use: it may go on, if it can.
      SetGoal(host, Goal::kRun, MakeCause(Cause::Kind::kUnknown, "the move is put off"));
      activation.stage_deadline = now_ + policy.stop_timeout;
      return;
    case Goal::kRun:
    case Goal::kStay:
    case Goal::kLoosen:
    case Goal::kCommit:
      BeginRelease(host, Goal::kKill, absl::StrCat("no answer within ", late), false);
      return;
    case Goal::kRelease:
      BeginRelease(host, Goal::kKill, absl::StrCat("did not stop within ", late), false);
      return;
    case Goal::kKill: {
      Duration wait = limits_.kill_retry_first;
      for (uint32_t i = 0; i < activation.kills && wait < limits_.kill_retry_max; ++i) wait *= 2;
      ++activation.kills;
      activation.stage_deadline = now_ + std::min(wait, limits_.kill_retry_max);
      SetGoal(host, Goal::kKill, MakeCause(Cause::Kind::kUnknown, "still there"));
      return;
    }
  }
}

absl::Status Activator::Release(HostId host, absl::string_view reason, Instant now) {
  Scope scope(*this, now);
  Get(host).start_again.reset();
  switch (table_[host].state) {
    case HostState::kImaginary:
      if (Get(host).wanted) GiveUp(host, reason);
      break;
    case HostState::kStarting:
    case HostState::kRestoring:
      Get(host).discard = true;
      BeginRelease(host, EndOfStart(host), reason, /*error=*/false);
      RefuseHeld(host, reason, /*wake_over=*/true);
      break;
    case HostState::kRunning:
    case HostState::kPaused:
      Get(host).discard = true;
      BeginRelease(host, Goal::kRelease, reason, /*error=*/false);
      break;
    case HostState::kReleasing:
      Get(host).unasked = Get(host).overdue = false;
      Get(host).discard = true;
      if (Get(host).goal < Goal::kRelease)
        BeginRelease(host, Goal::kRelease, reason, /*error=*/false);
      break;
    case HostState::kCheckpointed:
      ForgetCheckpoint(host, reason);
      break;
  }
  Settle(host);
  return absl::OkStatus();
}

void Activator::Shutdown(absl::string_view reason, bool force, Instant now) {
  Scope scope(*this, now);
  shutdown_reason_ = std::string(reason);
  std::vector<HostId> hosts;
  for (const auto& [host, activation] : activations_) hosts.push_back(host);
  std::sort(hosts.begin(), hosts.end());
  const Goal goal = force ? Goal::kKill : Goal::kRelease;
  for (const HostId host : hosts) {
    const HostState state = table_[host].state;
    Get(host).discard = true;
    Get(host).start_again.reset();
    if (state == HostState::kStarting || state == HostState::kRestoring) {
      BeginRelease(host, force ? goal : EndOfStart(host), reason, /*error=*/false);
    } else if (state == HostState::kRunning || state == HostState::kPaused) {
      BeginRelease(host, goal, reason, /*error=*/false);
    } else if (state == HostState::kReleasing && Get(host).goal < goal) {
      BeginRelease(host, goal, reason, /*error=*/false);
    }
    if (state == HostState::kStarting || state == HostState::kRestoring || Get(host).wanted ||
        held_.Has(host))
      GiveUp(host, reason);
    if (state == HostState::kCheckpointed) ForgetCheckpoint(host, reason);
    Settle(host);
  }
}

void Activator::RemoveGuest(HostId host) {
  IM_CHECK(depth_ == 0);  // what was decided about it may not be told yet
  IM_CHECK(table_[host].guest && table_[host].state == HostState::kImaginary);
  IM_CHECK(!held_.Has(host));
  const auto it = activations_.find(host);
  if (it != activations_.end()) {
    if (it->second->deadline != kNever) deadlines_.erase({it->second->deadline, host});
    activations_.erase(it);
  }
  table_.RemoveGuest(host);
}

bool Activator::AreLastWords(HostId host, const IpView& view) const {
  if (!view.is_tcp() || view.is_syn()) return false;
  const std::optional<HostId> sender = table_.FindByAddress(view.source);
  if (!sender) return false;
  const HostState from = table_[*sender].state, to = table_[host].state;
  return (from == HostState::kReleasing || from == HostState::kImaginary) &&
         (to == HostState::kImaginary ||
          (to == HostState::kReleasing && activations_.at(host)->goal >= Goal::kRelease));
}

std::optional<HostId> Activator::LeaderUp(HostId host) const {
  for (const HostId leader : table_.leaders(host)) {
    const HostState state = table_[leader].state;
    if (state == HostState::kStarting || state == HostState::kRestoring ||
        state == HostState::kRunning)
      return leader;
    // It will be back at once.
    const auto it = activations_.find(leader);
    if (state == HostState::kReleasing &&
        (it->second->goal == Goal::kMove || it->second->renews))
      return leader;
  }
  return std::nullopt;
}

}  // namespace im::orchestrator
