#include "orchestrator/agent/beats.h"

#include <algorithm>

namespace im::agent {
namespace {

// Beats come late on a busy machine.
constexpr int kLateFactor = 3;
constexpr Duration kLateExtra = std::chrono::seconds(1);

}  // namespace

void Beats::OnPayload(const IpAddress& fellow, bool inbound, Instant now) {
  Pair& pair = pairs_[fellow];
  const Duration gap = now - pair.last;
  const bool turned = pair.inbound != inbound;
  if (!pair.fresh) {
    // An eighth of it is forgotten with each packet.
    pair.longest = std::max(gap, pair.longest - pair.longest / 8);
    if (turned) {
      (inbound ? pair.to_answer : pair.to_beat) = gap;
      if (pair.to_answer >= Duration(0) && pair.to_beat >= Duration(0)) {
        const int vote = pair.to_answer < pair.to_beat ? 1 : -1;
        pair.votes = std::clamp(pair.votes + vote, -kVotesMax, kVotesMax);
      }
    }
  }
  pair.run = turned ? 1 : pair.run + 1;
  if (pair.votes != 0 && pair.run > 4 * kOneWay) {
    pair.votes += pair.votes > 0 ? -1 : 1;
    pair.run = kOneWay;
  }
  if (pair.votes == 0) pair.run = std::min(pair.run, kOneWay);
  pair.inbound = inbound;
  pair.last = now;
  pair.fresh = false;
}

void Beats::OnThaw(Instant now) {
  const Duration paused = paused_at_ == kNever ? Duration(0) : now - paused_at_;
  paused_at_ = kNever;
  for (auto& [fellow, pair] : pairs_) {
    pair.last += paused;
    pair.fresh = true;
  }
}

Duration Beats::SilentAfter(const Pair& pair) { return kLateFactor * pair.longest + kLateExtra; }

Beats::Role Beats::RoleOf(const Pair& pair, Instant now) {
  if (now - pair.last > SilentAfter(pair)) return Role::kNone;
  if (pair.votes != 0) return pair.votes > 0 ? Role::kLeads : Role::kFollows;
  if (pair.run < kOneWay) return Role::kNone;
  return pair.inbound ? Role::kFollows : Role::kLeadsUnanswered;
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
