#include "orchestrator/group_suspender.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace im::orchestrator {
namespace {

bool AtRest(HostState state) {
  return state == HostState::kImaginary || state == HostState::kCheckpointed;
}

}  // namespace

GroupSuspender::GroupSuspender(const HostTable& hosts)
    : hosts_(hosts), groups_(hosts.groups().size()) {
  for (size_t i = 0; i < groups_.size(); ++i)
    groups_[i].members.resize(hosts.groups()[i].members.size());
}

bool GroupSuspender::Up(HostId host) const {
  const HostState state = hosts_[host].state;
  return state == HostState::kRunning || state == HostState::kPaused;
}

GroupSuspender::Member& GroupSuspender::MemberOf(uint32_t group, HostId host) {
  const std::vector<HostId>& ids = hosts_.groups()[group].members;
  const auto it = std::find(ids.begin(), ids.end(), host);
  IM_CHECK(it != ids.end());
  return groups_[group].members[static_cast<size_t>(it - ids.begin())];
}

// ---- events -----------------------------------------------------------------

void GroupSuspender::OnReport(HostId host, Report report, Instant now) {
  const std::optional<uint32_t> group = hosts_.GroupOf(host);
  if (!group.has_value()) return;
  Group& state = groups_[*group];
  // Agents may remember rounds of an orchestrator before this one.
  if (state.phase == Phase::kAwake) state.round = std::max(state.round, report.pause_answered);
  MemberOf(*group, host).report = std::move(report);
  Evaluate(*group, now);
}

void GroupSuspender::OnTransition(HostId host, Instant now) {
  const std::optional<uint32_t> group = hosts_.GroupOf(host);
  if (!group.has_value()) return;
  // What made it so is about to be reported.
  if (Up(host)) return;
  MemberOf(*group, host) = Member();
  Evaluate(*group, now);
}

absl::Status GroupSuspender::Suspend(HostId host, Instant now) {
  const std::optional<uint32_t> group = hosts_.GroupOf(host);
  IM_CHECK(group.has_value());
  Group& state = groups_[*group];
  const HostTable::Group& names = hosts_.groups()[*group];
  for (const HostId member : names.members) {
    const HostState at = hosts_[member].state;
    if (Up(member) || AtRest(at)) continue;
    return absl::FailedPreconditionError(absl::StrCat("group ", names.name, ": ",
                                                      hosts_[member].name, " is ",
                                                      HostStateName(at)));
  }
  if (state.phase == Phase::kAsleep) return absl::OkStatus();
  state.forced = true;
  if (state.phase == Phase::kAwake) Begin(*group, now);
  Evaluate(*group, now);
  return absl::OkStatus();
}

Instant GroupSuspender::NextDeadline() const {
  return deadlines_.empty() ? kNever : deadlines_.begin()->first;
}

void GroupSuspender::OnTimer(Instant now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const uint32_t group = deadlines_.begin()->second;
    Evaluate(group, now);
    // Whatever it was for, it is over.
    if (groups_[group].deadline <= now) SetDeadline(group, kNever);
  }
}

void GroupSuspender::SetDeadline(uint32_t group, Instant deadline) {
  Instant& current = groups_[group].deadline;
  if (current == deadline) return;
  if (current != kNever) deadlines_.erase({current, group});
  current = deadline;
  if (deadline != kNever) deadlines_.emplace(deadline, group);
}

// ---- phases -----------------------------------------------------------------

void GroupSuspender::Evaluate(uint32_t group, Instant now) {
  Group& state = groups_[group];
  if (state.phase == Phase::kAwake) Awake(group, now);
  if (state.phase == Phase::kFalling) return Fall(group, now);
  if (state.phase != Phase::kAsleep) return;
  const std::vector<HostId>& ids = hosts_.groups()[group].members;
  bool any_paused = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    const HostState at = hosts_[ids[i]].state;
    any_paused |= at == HostState::kPaused;
    const bool waking = at == HostState::kPaused && state.members[i].report.waking;
    if (at != HostState::kRunning && at != HostState::kStarting && !waking) continue;
    return Rise(group, absl::StrCat(hosts_[ids[i]].name, " is needed"), now);
  }
  if (!any_paused) state.phase = Phase::kAwake;
}

void GroupSuspender::Awake(uint32_t group, Instant now) {
  Group& state = groups_[group];
  const std::vector<HostId>& ids = hosts_.groups()[group].members;
  size_t running = 0, paused = 0, moving = 0, quiet = 0;
  bool waking = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    const HostState at = hosts_[ids[i]].state;
    running += at == HostState::kRunning;
    paused += at == HostState::kPaused;
    moving += !Up(ids[i]) && !AtRest(at);
    quiet += at == HostState::kRunning && state.members[i].report.quiet;
    waking |= at == HostState::kPaused && state.members[i].report.waking;
  }
  if (paused == 0) {
    SetDeadline(group, kNever);
    if (running == 0 || moving > 0 || quiet < running) return;
    Begin(group, now);
    return;
  }
  if (running == 0 && !waking &&
      std::none_of(ids.begin(), ids.end(), [this](HostId id) {
        return hosts_[id].state == HostState::kStarting;
      })) {
    state.phase = Phase::kAsleep;
    SetDeadline(group, kNever);
    return;
  }
  if (state.deadline == kNever) SetDeadline(group, now + kSplitMax);
  if (state.deadline > now) return;
  for (const HostId id : ids)
    if (hosts_[id].state == HostState::kPaused) Wake(id, "others of its group run");
  SetDeadline(group, now + kSplitRetry);
}

void GroupSuspender::Begin(uint32_t group, Instant now) {
  Group& state = groups_[group];
  state.phase = Phase::kFalling;
  ++state.round;
  state.stage_end = now + kStageMax;
  state.vain_since = kNever;
}

bool GroupSuspender::MayFall(uint32_t group, const Member& member) {
  for (const HostId lead : member.report.leads) {
    if (hosts_.GroupOf(lead) != group) continue;
    const HostState at = hosts_[lead].state;
    if (at == HostState::kRunning) return false;
    if (at == HostState::kPaused && !MemberOf(group, lead).report.awaits.empty()) return false;
  }
  return true;
}

void GroupSuspender::Fall(uint32_t group, Instant now) {
  Group& state = groups_[group];
  const std::vector<HostId>& ids = hosts_.groups()[group].members;
  size_t under_way = 0;
  std::vector<size_t> left;             // to be asked
  absl::flat_hash_set<HostId> awaited;  // by one that is paused, or falling
  for (size_t i = 0; i < ids.size(); ++i) {
    const Member& member = state.members[i];
    const std::string& name = hosts_[ids[i]].name;
    const bool asked = member.asked == state.round;
    switch (hosts_[ids[i]].state) {
      case HostState::kImaginary:
      case HostState::kCheckpointed:
        break;
      case HostState::kPaused:
        if (member.report.waking) return Rise(group, absl::StrCat(name, " is needed"), now);
        if (!member.report.awaits.empty()) ++under_way;
        awaited.insert(member.report.awaits.begin(), member.report.awaits.end());
        break;
      case HostState::kRunning:
        if (!asked && !member.report.quiet && !state.forced)
          return Rise(group, absl::StrCat(name, " is in use"), now);
        if (asked && member.report.pause_answered >= state.round && !member.report.falling) {
          if (!member.report.beat_late) return Rise(group, absl::StrCat(name, " is in use"), now);
          state.at_once = true;
          return Rise(group, absl::StrCat(name, " awaited a beat in vain"), now);
        }
        if (asked) {
          ++under_way;
          if (member.report.pause_answered >= state.round)
            awaited.insert(member.report.awaits.begin(), member.report.awaits.end());
        } else {
          left.push_back(i);
        }
        break;
      default:
        return Rise(group, absl::StrCat(name, " is ", HostStateName(hosts_[ids[i]].state)), now);
    }
  }
  const bool in_vain = std::any_of(awaited.begin(), awaited.end(), [this](HostId host) {
    return hosts_[host].state == HostState::kPaused;
  });
  state.vain_since = in_vain ? std::min(state.vain_since, now) : kNever;
  if (state.stage_end <= now || (in_vain && state.vain_since + kSplitMax <= now)) {
    // Members may not agree on who begins, or wait for what their fellow never meant to send.
    state.at_once = true;
    return Rise(group, "not all fell asleep in time", now);
  }
  if (under_way == 0 && left.empty()) {
    state.phase = Phase::kAsleep;
    state.forced = state.at_once = false;
    SetDeadline(group, kNever);
    return;
  }
  const auto ask = [&](size_t i, bool at_once) {
    state.members[i].asked = state.round;
    actions_.push_back({.kind = Action::Kind::kPause,
                        .host = ids[i],
                        .round = state.round,
                        .forced = state.forced,
                        .at_once = at_once});
    state.stage_end = now + kStageMax;
    ++under_way;
  };
  std::vector<size_t> later;
  for (const size_t i : left) {
    if (state.at_once || (MayFall(group, state.members[i]) && !awaited.contains(ids[i]))) {
      ask(i, state.at_once);
    } else {
      later.push_back(i);
    }
  }
  if (under_way == 0)
    for (const size_t i : later) ask(i, /*at_once=*/true);
  SetDeadline(group,
              in_vain ? std::min(state.stage_end, state.vain_since + kSplitMax) : state.stage_end);
}

void GroupSuspender::Wake(HostId host, const std::string& reason) {
  actions_.push_back({.kind = Action::Kind::kWake, .host = host, .reason = reason});
}

void GroupSuspender::Rise(uint32_t group, const std::string& reason, Instant now) {
  Group& state = groups_[group];
  const std::vector<HostId>& ids = hosts_.groups()[group].members;
  bool any_paused = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    const HostState at = hosts_[ids[i]].state;
    const bool asked = state.phase == Phase::kFalling && state.members[i].asked == state.round;
    any_paused |= at == HostState::kPaused;
    if (at != HostState::kPaused && (at != HostState::kRunning || !asked)) continue;
    Wake(ids[i], reason);
    // What it said before no longer counts.
    state.members[i].report.quiet = false;
  }
  state.phase = Phase::kAwake;
  state.forced = false;
  SetDeadline(group, any_paused ? now + kSplitRetry : kNever);
}

// ---- for `im why` -----------------------------------------------------------

std::string GroupSuspender::Reason(HostId host) const {
  const std::optional<uint32_t> group = hosts_.GroupOf(host);
  if (!group.has_value() || hosts_[host].state != HostState::kRunning) return "";
  const Group& state = groups_[*group];
  const HostTable::Group& names = hosts_.groups()[*group];
  const std::string prefix = absl::StrCat("group ", names.name, ": ");
  if (state.phase == Phase::kFalling) return absl::StrCat(prefix, "falling asleep");
  for (size_t i = 0; i < names.members.size(); ++i) {
    const HostId member = names.members[i];
    const HostState at = hosts_[member].state;
    if (member == host || AtRest(at) || at == HostState::kPaused) continue;
    if (at == HostState::kRunning && state.members[i].report.quiet) continue;
    return absl::StrCat(prefix, hosts_[member].name,
                        at == HostState::kRunning ? " is not quiet"
                                                  : absl::StrCat(" is ", HostStateName(at)));
  }
  return "";
}

}  // namespace im::orchestrator
