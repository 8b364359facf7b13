#include "orchestrator/agent/timer_watch.h"

#include <algorithm>

namespace im::agent {

void TimerWatch::OnAwake(Instant now, bool used) {
  if (used)
    for (auto& [key, source] : sources_) source.returns = source.fruitless = 0;
  looked_at_ = now;
  thawed_ = true;
}

bool TimerWatch::Same(const Source& source, const TimerSeen& seen, Instant now) const {
  if (seen.kind == TaskWait::Kind::kContinued) return true;
  if (seen.fd < 0) return source.switches == seen.switches;
  if (!source.pending) return false;
  const Duration moved = (now + seen.length) - source.earliest;
  return moved < kSameDeadline && moved > -kSameDeadline;
}

void TimerWatch::Begin(Source& source, const TimerSeen& seen, Instant now) const {
  source.period = seen.period;
  source.pending = seen.kind == TaskWait::Kind::kRelative ||
                   (seen.kind == TaskWait::Kind::kAbsolute && seen.length > -kLateMax);
  if (!source.pending) return;
  source.latest = now + seen.length;
  if (seen.kind == TaskWait::Kind::kRelative) {
    source.earliest = looked_at_ + seen.length;
    source.length = seen.length;
  } else {
    source.earliest = source.latest;
    source.length = std::max(source.latest - looked_at_, Duration(1));
  }
  if (source.period > Duration(0)) source.length = std::min(source.length, seen.length);
}

TimerWatch::Source& TimerWatch::Find(const TimerSeen& seen, bool* is_new) {
  const Key key{seen.task, seen.fd};
  const auto found = sources_.find(key);
  *is_new = found == sources_.end();
  if (!*is_new) return found->second;
  Source source;
  if (seen.fd < 0) {
    const auto old = std::find_if(sources_.begin(), sources_.end(), [&](const auto& entry) {
      return entry.first.fd < 0 && entry.second.look + 1 == looks_ &&
             entry.second.parent == seen.parent && entry.second.name == seen.name;
    });
    if (old != sources_.end()) {
      *is_new = false;
      source = std::move(old->second);
      source.switches = seen.switches + 1;  // not the same call
      sources_.erase(old);
    }
  }
  return sources_[key] = std::move(source);
}

void TimerWatch::OnLook(Instant now, bool used, bool with_fds, std::span<const TimerSeen> seen) {
  ++looks_;
  // Whose source is still there must not be taken for a successor.
  for (const TimerSeen& s : seen) {
    const auto it = sources_.find(Key{s.task, s.fd});
    if (it != sources_.end()) it->second.look = looks_;
  }
  for (const TimerSeen& s : seen) {
    bool is_new = false;
    Source& source = Find(s, &is_new);
    source.look = looks_;
    source.parent = s.parent;
    source.name = s.name;
    if (used) source.returns = source.fruitless = 0;
    if (is_new || !Same(source, s, now)) {
      if (!is_new && !used && !thawed_)
        source.returns += s.switches > source.switches ? s.switches - source.switches : 1;
      source.came_back = source.came_back || (source.due && !is_new);
      Begin(source, s, now);
    }
    source.switches = s.switches;
    if (source.pending && source.length <= policy_.tick_max &&
        (source.returns >= kReturnsMin || source.period > Duration(0)))
      source.tick = std::max(source.tick, source.length);
  }
  absl::erase_if(sources_, [&](const auto& entry) {
    return entry.second.look != looks_ && (with_fds || entry.first.fd < 0);
  });
  looked_at_ = now;
  thawed_ = false;
}

bool TimerWatch::Honoured(const Source& source) const {
  if (!source.pending || policy_.mode == Mode::kIgnore) return false;
  if (source.length <= 2 * source.tick && source.length <= policy_.tick_max) return false;
  return policy_.mode == Mode::kHonor || source.fruitless < kFruitlessMin ||
         source.length > 2 * source.fruitless_length;
}

std::optional<TimerWatch::Timer> TimerWatch::Next(Instant now, Duration longer_than) const {
  const Source* first = nullptr;
  for (const auto& [key, source] : sources_) {
    if (!Honoured(source) || source.length <= longer_than || source.latest + kLateMax < now)
      continue;
    if (first == nullptr || source.earliest < first->earliest) first = &source;
  }
  if (first == nullptr) return std::nullopt;
  return Timer{std::max(first->earliest, now), first->name, first->length};
}

std::optional<TimerWatch::Timer> TimerWatch::Near(Instant now) const {
  std::optional<Timer> next = Next(now);
  if (next && next->at > now + policy_.horizon) next.reset();
  return next;
}

void TimerWatch::OnWake(Instant now) {
  for (auto& [key, source] : sources_) {
    source.due = Honoured(source) && source.earliest <= now + kLead;
    source.due_length = source.length;
    source.came_back = false;
  }
}

void TimerWatch::OnJudged(bool worked) {
  for (auto& [key, source] : sources_) {
    if (!source.due || !source.came_back) continue;
    source.due = false;
    if (worked) {
      source.fruitless = 0;
    } else {
      ++source.fruitless;
      source.fruitless_length = std::max(source.fruitless_length, source.due_length);
    }
  }
}

}  // namespace im::agent
