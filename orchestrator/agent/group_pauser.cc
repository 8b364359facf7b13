#include "orchestrator/agent/group_pauser.h"

#include <algorithm>
#include <utility>

namespace im::agent {
GroupPauser::GroupPauser(const proto::Group& group, Instant now, Delegate& delegate)
    : delegate_(delegate),
      bytes_per_s_(group.heartbeat_bytes_per_s()),
      tokens_(static_cast<double>(bytes_per_s_) * Seconds(kBurst)),
      tokens_at_(now) {
  for (const std::string& bytes : group.fellows())
    fellows_.insert(IpAddress::FromBytes(
        {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}));
}

bool GroupPauser::OnFellow(const IpAddress& fellow, bool inbound, size_t bytes, Instant now) {
  if (inbound && state_ == State::kFalling &&
      std::find(expected_.begin(), expected_.end(), fellow) != expected_.end())
    Fall();
  if (inbound && (state_ == State::kPaused || state_ == State::kWaking)) {
    // The others may be waiting for it; and we for their answers, but until this is
    // delivered.
    if (heard_.insert(fellow).second) {
      if (state_ == State::kWaking && Answered()) deadline_ = now;
      if (std::find(expected_.begin(), expected_.end(), fellow) != expected_.end())
        delegate_.OnGroupChange();
    }
    return false;
  }
  beats_.OnPayload(fellow, inbound, now);
  const double rate = static_cast<double>(bytes_per_s_);
  tokens_ = std::min(tokens_ + rate * Seconds(now - tokens_at_), rate * Seconds(kBurst));
  tokens_at_ = now;
  const bool heartbeat = tokens_ >= static_cast<double>(bytes);
  tokens_ = heartbeat ? tokens_ - static_cast<double>(bytes) : 0;
  return !heartbeat;
}

void GroupPauser::OnQuiet() {
  if (state_ != State::kBusy) return;
  state_ = State::kQuiet;
  delegate_.OnGroupChange();
}

bool GroupPauser::IsNewRequest(uint64_t number) {
  // A restarted orchestrator counts anew.
  return number > std::exchange(answered_pause_, number);
}

void GroupPauser::OnAsked(bool forced, bool at_once, Instant now) {
  if (state_ == State::kPaused || state_ == State::kWaking || state_ == State::kFalling) return;
  if (!forced && (state_ != State::kQuiet || delegate_.BusyNow())) {
    if (state_ == State::kQuiet) delegate_.OnGroupUse();
    state_ = State::kBusy;
    delegate_.OnGroupChange();
    return;
  }
  expected_.clear();
  answer_.clear();
  if (!at_once) {
    expected_ = beats_.Fellows({Beats::Role::kFollows}, now);
    answer_ = beats_.Fellows({Beats::Role::kLeads}, now);
  }
  beat_late_ = false;
  state_ = State::kFalling;
  if (expected_.empty()) return Fall();
  deadline_ = now + std::min(beats_.NextBeatWithin(expected_), kNextBeatMax);
  delegate_.OnGroupChange();
}

void GroupPauser::Fall() {
  deadline_ = kNever;
  if (delegate_.Freeze()) return;  // it calls OnPausedOrThawed
  state_ = State::kBusy;
  delegate_.OnGroupUse();
  delegate_.OnGroupChange();
}

void GroupPauser::OnPausedOrThawed(bool paused, Instant now) {
  deadline_ = kNever;
  heard_.clear();
  if (paused) {
    if (state_ != State::kFalling) {  // not by us
      expected_.clear();
      answer_ = beats_.Fellows({Beats::Role::kLeads}, now);
    }
    state_ = State::kPaused;
    beats_.OnPause(now);
  } else {
    state_ = State::kBusy;
    beats_.OnThaw(now);
  }
}

void GroupPauser::Wake(const proto::WakeCause& cause, Instant now) {
  switch (state_) {
    case State::kBusy:
    case State::kWaking:
      return;
    case State::kQuiet:
    case State::kFalling:
      state_ = State::kBusy;
      deadline_ = kNever;
      delegate_.OnGroupUse();
      delegate_.OnGroupChange();
      return;
    case State::kPaused:
      if (Answered()) return delegate_.ThawNow(cause);
      state_ = State::kWaking;
      cause_ = cause;
      deadline_ = now + kAnswerMax;
      delegate_.OnGroupChange();
      return;
  }
}

void GroupPauser::OnFellowGone(const IpAddress& fellow, bool for_good, Instant now) {
  if (!fellows_.contains(fellow)) return;
  const bool awaited = std::erase(expected_, fellow) > 0;
  const bool asleep = state_ == State::kPaused || state_ == State::kWaking;
  if (!asleep || for_good) std::erase(answer_, fellow);
  if (for_good) beats_.Forget(fellow);
  if (state_ == State::kWaking && Answered()) deadline_ = now;
  if (state_ == State::kFalling && expected_.empty()) return Fall();
  if (awaited && state_ != State::kBusy) delegate_.OnGroupChange();
}

void GroupPauser::OnTimer(Instant now) {
  if (now < deadline_) return;
  deadline_ = kNever;
  if (state_ == State::kWaking) {
    delegate_.ThawNow(cause_);
  } else if (state_ == State::kFalling) {
    state_ = State::kBusy;
    beat_late_ = true;
    delegate_.OnGroupUse();
    delegate_.OnGroupChange();
  }
}

bool GroupPauser::Answered() const {
  return std::all_of(answer_.begin(), answer_.end(),
                     [this](const IpAddress& fellow) { return heard_.contains(fellow); });
}

std::vector<IpAddress> GroupPauser::Unheard(std::vector<IpAddress> fellows) const {
  std::erase_if(fellows, [this](const IpAddress& fellow) { return heard_.contains(fellow); });
  return fellows;
}

void GroupPauser::Describe(Instant now, proto::InstanceStatus& status) const {
  proto::GroupStatus& group = *status.mutable_group();
  group.set_pause_answered(answered_pause_);
  group.set_quiet(state_ == State::kQuiet);
  group.set_falling(state_ == State::kFalling);
  group.set_waking(state_ == State::kWaking);
  group.set_beat_late(beat_late_);
  if (state_ == State::kFalling || state_ == State::kPaused || state_ == State::kWaking)
    for (const IpAddress& fellow : Unheard(expected_)) group.add_awaits(fellow.ToBytes());
  using enum Beats::Role;
  for (const IpAddress& fellow : beats_.Fellows({kLeads, kLeadsUnanswered}, now))
    group.add_leads(fellow.ToBytes());
}

}  // namespace im::agent
