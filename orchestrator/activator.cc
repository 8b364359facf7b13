// Wakes: packets, requests, the start queue, and what time brings.
// activator_instance.cc: what happens to instances; activator_release.cc: their
// release; activator_group.cc: who is started and released with others; activator_group_disk.cc:
// groups that go to disk; activator_needs.cc: who is started after others; activator_lifetime.cc:
// who is replaced when it is old; activator_state.cc: records, deadlines, and what delegates
// are told.

#include "orchestrator/activator.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "orchestrator/activation.h"
#include "orchestrator/packet_use.h"

namespace im::orchestrator {

Activator::Activator(HostTable& table, const Limits& limits, uint64_t first_incarnation,
                     Delegate& delegate)
    : table_(table),
      limits_(limits),
      delegate_(delegate),
      held_(limits.held),
      next_incarnation_(first_incarnation) {
  IM_CHECK(first_incarnation > 0 && limits.starting_max > 0);
}

Activator::~Activator() = default;

void Activator::Begin(Instant now) {
  Scope scope(*this, now);
  table_.ForEach([this](HostId host, const HostTable::Host& row) {
    if (!table_.policy(host).always_running || row.state != HostState::kImaginary) return;
    Want(host, MakeCause(Cause::Kind::kMinRunning), /*for_ever=*/true);
    Settle(host);
  });
}

Activator::Verdict Activator::OnPacket(HostId host, const Packet& packet, const IpView& view,
                                       Instant now) {
  const HostTable::Host& row = table_[host];
  if (row.state == HostState::kRunning || row.state == HostState::kPaused)
    return Verdict::kForward;
  if (row.state == HostState::kStarting) {
    const Activation& activation = *activations_.at(host);
    if (!activation.not_ready.empty() && activation.called.contains(table_.Plain(view.source)))
      return Verdict::kForward;
  }
  PacketUse use = UseOfPacket(view);
  if (use == PacketUse::kWakes &&
      (FromSleepingFellow(host, view.source) || AreLastWords(host, view)))
    use = PacketUse::kLeftover;
  if (view.is_tcp() &&
      (row.state == HostState::kCheckpointed || row.state == HostState::kRestoring))
    use = PacketUse::kWakes;
  if (use == PacketUse::kUseless) {
    ++counters_.useless;
    return Verdict::kDropped;
  }
  Scope scope(*this, now);
  const auto refuse = [&](absl::string_view reason) {
    PacketBatch batch;
    batch.AppendCopy(packet);
    ++counters_.refused;
    effects_.push_back({Effect::Refusal{host, std::move(batch), std::string(reason), false}});
    return Verdict::kRefused;
  };
  if (!shutdown_reason_.empty()) return refuse(shutdown_reason_);
  const Duration bound = table_.policy(host).start_timeout;
  if (row.guest && (row.state == HostState::kImaginary || row.state == HostState::kReleasing))
    return refuse("the program of im run has ended");
  if (row.state == HostState::kImaginary) {
    if (use == PacketUse::kLeftover) return refuse("the connection is gone");
  }
  if (!HasInstance(row.state)) {
    const auto it = activations_.find(host);
    if (it != activations_.end() && it->second->backoff.waiting(now) &&
        it->second->backoff.retry_at() - now >= bound)
      return refuse(it->second->backoff.Reason(now));
  }
  const HeldPackets::Result result = held_.Enqueue(host, packet, view, now, now + bound);
  // (One that was taken back may be on its way to disk.)
  if ((row.state == HostState::kReleasing || row.state == HostState::kStarting) &&
      !FromSleepingFellow(host, view.source))
    Get(host).outsiders = true;
  // Even a packet that does not fit is a reason to wake: it will be repeated.
  if (use == PacketUse::kWakes) {
    const absl::Status woken = WakeOne(host, CauseOfPacket(view));
    IM_CHECK(woken.ok());
  }
  switch (result) {
    case HeldPackets::Result::kHeld:
      ++counters_.held;
      return Verdict::kHeld;
    case HeldPackets::Result::kDuplicate:
    case HeldPackets::Result::kReplaced:
      ++counters_.duplicates;
      return Verdict::kHeld;
    default:
      ++counters_.over_limit;
      return Verdict::kDropped;
  }
}

void Activator::OnSent(const IpAddress& from, const IpAddress& to) {
  const std::optional<HostId> host = table_.FindByAddress(from);
  if (!host || table_[*host].state != HostState::kStarting) return;
  absl::flat_hash_set<IpAddress>& called = activations_.at(*host)->called;
  if (called.size() < limits_.called_max) called.insert(table_.Plain(to));
}

absl::Status Activator::Wake(HostId host, const Cause& cause, Instant now) {
  Scope scope(*this, now);
  const HostTable::Host& row = table_[host];
  if (!shutdown_reason_.empty()) return absl::UnavailableError(shutdown_reason_);
  if (!HasInstance(row.state) && !row.guest) {
    Activation& activation = Get(host);
    if (cause.kind == Cause::Kind::kUser) activation.backoff.EndWait(now);
    if (activation.backoff.waiting(now) &&
        activation.backoff.retry_at() - now >= table_.policy(host).start_timeout)
      return absl::AbortedError(activation.backoff.Reason(now));
  } else if (row.state == HostState::kRunning) {
    // It may be about to pause, or paused and we do not know it yet.
    SetGoal(host, Goal::kRun, cause);
    return absl::OkStatus();
  }
  return WakeOne(host, cause);
}

// The host is not Running; back-offs that outlast the bound were refused.
absl::Status Activator::WakeOne(HostId host, const Cause& cause) {
  const HostTable::Host& row = table_[host];
  if (row.guest && (row.state == HostState::kImaginary || row.state == HostState::kReleasing))
    return absl::FailedPreconditionError("the program of im run has ended");
  switch (row.state) {
    case HostState::kImaginary:
    case HostState::kCheckpointed:
      Want(host, cause);
      break;
    case HostState::kReleasing: {
      Want(host, cause);
      Activation& activation = Get(host);
      if (GoesToDiskTogether(host)) {
        TouchGroup(host);  // which calls it off
      } else if (activation.goal == Goal::kReleaseIfIdle) {
        // The agent has not heard of it yet, or may refuse: whatever it says
        // next decides. If it says nothing, it is beyond saving.
        SetGoal(host, Goal::kRun, cause);
        activation.stage_deadline = now_ + table_.policy(host).stop_timeout;
      }
      WakeFellows(host, cause);
      break;
    }
    case HostState::kPaused:
      SetGoal(host, Goal::kRun, cause);
      break;
    case HostState::kStarting:
    case HostState::kRestoring: {
      Activation& activation = Get(host);
      activation.wanted_since = std::min(activation.wanted_since, now_);
      if (activation.stage_deadline == kNever)  // its fellows are late: a bound for this wake
        activation.stage_deadline = now_ + table_.policy(host).start_timeout;
      break;
    }
    case HostState::kRunning:
      break;
  }
  Settle(host);
  return absl::OkStatus();
}

// ---- the wake that waits ----------------------------------------------------

void Activator::Want(HostId host, const Cause& cause, bool for_ever) {
  Activation& activation = Get(host);
  if (for_ever && cause.kind == Cause::Kind::kRestart) activation.start_again = cause;
  const Instant until = for_ever ? kNever : now_ + table_.policy(host).start_timeout;
  if (!activation.wanted) {
    activation.wanted = true;
    activation.cause = cause;
    activation.woken_at = now_;
    activation.want_until = until;
  } else {
    activation.want_until = std::min(activation.want_until, until);
  }
  if (!HasInstance(table_[host].state)) TryStart(host);
}

// After an end: hosts that must run are wanted without anybody's asking.
void Activator::WantAgain(HostId host) {
  if (!shutdown_reason_.empty() || table_[host].guest) return;
  if (const std::optional<Cause> again = Get(host).start_again) {
    Want(host, *again, /*for_ever=*/true);
    return;
  }
  if (table_.policy(host).always_running) {
    Want(host, MakeCause(Cause::Kind::kMinRunning), /*for_ever=*/true);
  } else if (const std::optional<HostId> leader = LeaderUp(host)) {
    Want(host, MakeCause(Cause::Kind::kWakeWith, table_[*leader].name), /*for_ever=*/true);
  }
}

void Activator::TryStart(HostId host) {
  Activation& activation = Get(host);
  if (!activation.wanted) return;
  if (activation.backoff.waiting(now_)) {
    const Instant retry_at = activation.backoff.retry_at();
    // No use in letting callers wait for what they will not live to see.
    if (retry_at >= activation.want_until) return GiveUp(host, activation.backoff.Reason(now_));
    if (retry_at - now_ >= table_.policy(host).start_timeout)
      RefuseHeld(host, activation.backoff.Reason(now_), /*wake_over=*/true);
    activation.stage_deadline = retry_at;
    return;
  }
  if (!NeedsHold(host)) return;
  if (starting_ >= limits_.starting_max) {
    activation.stage_deadline = kNever;
    if (activation.queue_place == 0) {
      activation.queue_place = next_queue_place_++;
      start_queue_.emplace(activation.queue_place, host);
    }
    return;
  }
  if (!Admitted(host)) return;
  const Cause cause = activation.cause;
  const uint64_t incarnation = next_incarnation_++;
  activation.holds_slot = true;
  ++starting_;
  ++counters_.starts;
  const bool restored = table_[host].state == HostState::kCheckpointed;
  if (restored) ++counters_.restores;
  // Only a move restarts what is on disk: nobody has more need of its dependencies than before.
  const bool moved = restored && cause.kind == Cause::Kind::kRestart;
  AwaitInstance(host, incarnation, cause);
  effects_.push_back({Effect::Start{host, incarnation, cause}});
  WakeFollowers(host, /*only_wake_with=*/moved);
  WakeFellows(host, cause);
}

bool Activator::Admitted(HostId host) {
  if (admission_ == nullptr) return true;
  Activation& activation = Get(host);
  const bool waited = !activation.not_admitted.empty();
  activation.not_admitted = admission_->Start(host, now_).value_or("");
  if (activation.not_admitted.empty()) return true;
  activation.stage_deadline = now_ + limits_.admission_retry;
  if (!waited) effects_.push_back({Effect::Wait{host, activation.not_admitted}});
  return false;
}

void Activator::Dequeue(Activation& activation) {
  if (activation.queue_place == 0) return;
  start_queue_.erase(activation.queue_place);
  activation.queue_place = 0;
}

// The waiting wake is answered with `reason`; whoever must run is wanted again.
void Activator::GiveUp(HostId host, absl::string_view reason) {
  Activation& activation = Get(host);
  activation.wanted = false;
  activation.want_until = kNever;
  activation.not_admitted.clear();
  activation.needs_wait = false;
  Dequeue(activation);
  if (!HasInstance(table_[host].state)) activation.stage_deadline = kNever;
  TouchGroup(host);
  RefuseHeld(host, reason, /*wake_over=*/true);
  WantAgain(host);
}

std::string Activator::WaitReason(HostId host) const {
  const std::string bound = DurationText(table_.policy(host).start_timeout);
  const std::string not_ready = outlook(host, now_).not_ready;
  switch (table_[host].state) {
    case HostState::kStarting:
    case HostState::kRestoring:
      if (const std::optional<HostId> fellow = FellowAwaited(host))
        return absl::StrCat("not up within ", bound, ": ", table_[*fellow].name,
                            " of its group is not restored");
      return absl::StrCat("not up within ", bound,
                          not_ready.empty() ? "" : absl::StrCat(": ", not_ready));
    case HostState::kReleasing:
      return absl::StrCat("its last instance has not ended within ", bound);
    default:
      break;
  }
  const auto it = activations_.find(host);
  if (it != activations_.end() && it->second->backoff.waiting(now_))
    return it->second->backoff.Reason(now_);
  if (it != activations_.end() && it->second->needs_wait)
    return absl::StrCat("it needs ", NeedReason(host), ", which took longer than ", bound);
  if (it != activations_.end() && !it->second->not_admitted.empty())
    return absl::StrCat("no memory within ", bound, ": ", it->second->not_admitted);
  return absl::StrCat("no start slot was free within ", bound);
}

// only_wake_with: those that must run whenever the leader does.
void Activator::WakeFollowers(HostId leader, bool only_wake_with) {
  for (const HostTable::Follower& follower : table_.followers(leader)) {
    if (only_wake_with && follower.kind != Cause::Kind::kWakeWith) continue;
    effects_.push_back(
        {Effect::Follow{follower.host, MakeCause(follower.kind, table_[leader].name)}});
  }
}

// An orchestrator that died may not have come to start them.
void Activator::WakeMissingFollowers(HostId leader) {
  for (const HostTable::Follower& follower : table_.followers(leader))
    if (follower.kind == Cause::Kind::kWakeWith && !HasInstance(table_[follower.host].state))
      effects_.push_back(
          {Effect::Follow{follower.host, MakeCause(follower.kind, table_[leader].name)}});
}

void Activator::RefuseHeld(HostId host, absl::string_view reason, bool wake_over) {
  PacketBatch batch = held_.Take(host);
  if (batch.empty() && !wake_over) return;
  counters_.refused += batch.size();
  effects_.push_back({Effect::Refusal{host, std::move(batch), std::string(reason), wake_over}});
  if (wake_over) FailWhoNeeds(host, reason);
}

// ---- time -------------------------------------------------------------------

Instant Activator::NextDeadline() const {
  const Instant own = deadlines_.empty() ? kNever : deadlines_.begin()->first;
  return std::min(own, held_.NextDeadline());
}

void Activator::OnTimer(Instant now) {
  Scope scope(*this, now);
  while (!deadlines_.empty() && deadlines_.begin()->first <= now)
    OnDeadline(deadlines_.begin()->second);
  // After the hosts' own deadlines, which know the better reason.
  while (true) {
    HeldPackets::Expired expired = held_.Expire(now);
    if (expired.host == kNoHost) break;
    counters_.refused += expired.packets.size();
    counters_.held_too_long += expired.packets.size();
    effects_.push_back({Effect::Refusal{expired.host, std::move(expired.packets),
                                        WaitReason(expired.host), false}});
  }
}

void Activator::OnDeadline(HostId host) {
  Activation& activation = Get(host);
  if (activation.wanted && activation.want_until <= now_) GiveUp(host, WaitReason(host));
  if (activation.stage_deadline <= now_) {
    activation.stage_deadline = kNever;
    switch (table_[host].state) {
      case HostState::kImaginary:
        if (activation.wanted) {
          TryStart(host);
        } else if (activation.backoff.forget_at() <= now_) {
          activation.backoff.Reset();
        }
        break;
      case HostState::kStarting:
      case HostState::kRestoring: {
        if (activation.ready) {
          RefuseHeld(host, WaitReason(host), /*wake_over=*/true);
          break;
        }
        std::string reason = absl::StrCat(
            table_[host].state == HostState::kStarting ? "start" : "restore",
            " timed out after ", DurationText(table_.policy(host).start_timeout));
        if (!activation.not_ready.empty()) absl::StrAppend(&reason, ": ", activation.not_ready);
        activation.backoff.Fail(limits_.backoff, reason, now_);
        BeginRelease(host, EndOfStart(host), reason, /*error=*/true);
        RefuseHeld(host, reason, /*wake_over=*/true);
        break;
      }
      case HostState::kPaused:
      case HostState::kReleasing:
        OnReleaseDeadline(host);
        break;
      case HostState::kCheckpointed:
        if (activation.wanted) TryStart(host);
        break;
      case HostState::kRunning:
        break;
    }
  }
  OnCheckpointDeadline(host);
  OnLifetimeOver(host);
  Settle(host);
}

}  // namespace im::orchestrator
