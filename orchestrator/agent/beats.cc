#include "orchestrator/agent/beats.h"

#include <algorithm>

namespace im::agent {
namespace {

// Beats come late on a busy machine: by a quarter of the time between them, and so much.
constexpr Duration kLateExtra = std::chrono::seconds(2);

}  // namespace

void Beats::OnPayload(const IpAddress& fellow, bool inbound, Instant now) {
  Pair& pair = pairs_[fellow];
  if (!pair.fresh) {
    const Duration gap = now - pair.last;
    const bool broke_silence = 2 * gap >= pair.longest;
    // Packets that come close together do not say that beats do: a little of the time
    // that passed is forgotten.
    pair.longest = std::max(gap, pair.longest - gap / 32);
    const Duration most = kPeriods * pair.longest;
    pair.balance = std::clamp(pair.balance + (inbound ? -gap : gap), -most, most);
    if (pair.beat_at != kNever && (inbound || now - pair.beat_at > kAnswerMax)) {
      pair.unanswered = now - pair.beat_at > kAnswerMax;
      pair.beat_at = kNever;
    }
    if (!inbound && broke_silence && pair.beat_at == kNever) pair.beat_at = now;
  }
  pair.packets = std::min(pair.packets + 1, kPacketsMin);
  pair.last = now;
  pair.fresh = false;
}

void Beats::OnThaw(Instant now) {
  const Duration paused = paused_at_ == kNever ? Duration(0) : now - paused_at_;
  paused_at_ = kNever;
  for (auto& [fellow, pair] : pairs_) {
    pair.last += paused;
    pair.beat_at = kNever;
    pair.fresh = true;
  }
}

Duration Beats::SilentAfter(const Pair& pair) {
  return pair.longest + pair.longest / 4 + kLateExtra;
}

Beats::Role Beats::RoleOf(const Pair& pair, Instant now) {
  if (now - pair.last > SilentAfter(pair)) return Role::kNone;
  if (pair.packets < kPacketsMin || pair.balance == Duration(0)) return Role::kNone;
  if (pair.balance < Duration(0)) return Role::kFollows;
  return pair.unanswered ? Role::kLeadsUnanswered : Role::kLeads;
}

Beats::Role Beats::RoleTowards(const IpAddress& fellow, Instant now) const {
  const auto it = pairs_.find(fellow);
  return it == pairs_.end() ? Role::kNone : RoleOf(it->second, now);
}

std::vector<IpAddress> Beats::Fellows(std::initializer_list<Role> roles, Instant now) const {
  std::vector<IpAddress> fellows;
  for (const auto& [fellow, pair] : pairs_) {
    const Role role = RoleOf(pair, now);
    if (std::find(roles.begin(), roles.end(), role) != roles.end()) fellows.push_back(fellow);
  }
  std::sort(fellows.begin(), fellows.end());
  return fellows;
}

Duration Beats::NextBeatWithin(const std::vector<IpAddress>& fellows) const {
  Duration within{0};
  for (const IpAddress& fellow : fellows) {
    const auto it = pairs_.find(fellow);
    if (it != pairs_.end()) within = std::max(within, SilentAfter(it->second));
  }
  return within;
}

}  // namespace im::agent
