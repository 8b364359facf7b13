#include "orchestrator/agent/idle_detector.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace im::agent {

Duration IdleDetector::Span() const {
  const Duration span = std::clamp(policy_.after / 4, kLookSpanMin, kLookSpanMax);
  const bool brief = brief_since_ && quiet_since_ <= *brief_since_;
  return brief ? std::min(span, kSettleSpan) : span;
}

bool IdleDetector::Counting() const {
  return awake_ && policy_.mode != Mode::kNever && exec_sessions_ == 0 && held_packets_ == 0;
}

void IdleDetector::OnAwake(Instant now) {
  awake_ = true;
  awake_since_ = now;
  quiet_since_ = now;
  last_use_.reset();
  brief_since_.reset();
  looked_at_.reset();
  busy_at_look_.clear();
}

void IdleDetector::OnAwakeBriefly(Instant now) {
  awake_ = true;
  awake_since_ = now;
  brief_since_ = now;
  // Whoever asked for the pause did not wait until it was due.
  quiet_since_ = std::min(quiet_since_, now - policy_.after);
  looked_at_.reset();
  busy_at_look_.clear();
}

void IdleDetector::OnAsleep(Instant now) {
  // As long as it takes to be paused is more than a moment.
  const bool moment = asleep_since_ && quiet_since_ <= *asleep_since_ &&
                      (!awake_ || now - awake_since_ <= policy_.after);
  if (!moment) asleep_since_ = now;
  awake_ = false;
}

void IdleDetector::SetExecSessions(int count, Instant now) {
  if (exec_sessions_ != 0 || count != 0) quiet_since_ = now;
  exec_sessions_ = count;
}

void IdleDetector::SetHeldPackets(int count, Instant now) {
  if (held_packets_ != 0 || count != 0) quiet_since_ = now;
  held_packets_ = count;
}

Instant IdleDetector::NextDeadline() const {
  if (!Counting()) return kNever;
  const Instant first_look = std::max({Deadline() - Span(), quiet_since_, awake_since_});
  // A look before the last use says nothing.
  if (!looked_at_ || *looked_at_ < quiet_since_) return first_look;
  return next_look_;
}

void IdleDetector::OnTimer(Instant now) {
  if (now < NextDeadline()) return;
  if (!looked_at_ || *looked_at_ < quiet_since_) {
    cpu_at_look_ = delegate_.LookAtProcesses(Delegate::Look::kCpu).cpu;
    looked_at_ = now;
    next_look_ = std::max(Deadline(), now + Span());
    return;
  }
  if (moment_ && now < *moment_ + kSettleSpan) {
    next_look_ = *moment_ + kSettleSpan;
    return;
  }
  const IdleEvidence evidence = delegate_.LookAtProcesses(Delegate::Look::kAll);
  busy_at_look_ = BusyBy(evidence, now);
  if (busy_at_look_.empty()) busy_at_look_ = delegate_.LookAtTimers();
  looked_at_ = now;
  cpu_at_look_ = evidence.cpu;
  next_look_ = now + Span();
  if (!busy_at_look_.empty()) return;
  awake_ = false;
  delegate_.OnIdle();
}

std::string IdleDetector::BusyBy(const IdleEvidence& evidence, Instant now) const {
  if (evidence.busy_file) return "busy file";
  if (policy_.mode == Mode::kNoConnections && evidence.connections > 0)
    return absl::StrCat(evidence.connections, evidence.connections == 1 ? " connection"
                                                                        : " connections");
  const Duration elapsed = std::max<Duration>(now - *looked_at_, Duration(1));
  const int64_t permille = (evidence.cpu - cpu_at_look_).count() * 1000 / elapsed.count();
  if (permille >= policy_.cpu_below_permille) return absl::StrFormat("cpu %.1f%%", permille / 10.0);
  if (evidence.tasks_running > 0) return absl::StrCat("running: ", evidence.task);
  if (evidence.tasks_in_disk_wait > 0) return absl::StrCat("disk wait: ", evidence.task);
  return {};
}

std::string IdleDetector::Busy(Instant now) const {
  if (exec_sessions_ > 0)
    return exec_sessions_ == 1 ? "exec session" : absl::StrCat(exec_sessions_, " exec sessions");
  if (held_packets_ > 0)
    return absl::StrCat(held_packets_, held_packets_ == 1 ? " held packet" : " held packets");
  if (policy_.mode == Mode::kNever) return "idle mode never";
  if (now < Deadline() || !looked_at_) {
    if (last_use_ && *last_use_ >= quiet_since_)
      return absl::StrFormat("payload %.1fs ago", Seconds(now - *last_use_));
    return absl::StrFormat("awake for %.1fs", Seconds(now - awake_since_));
  }
  return busy_at_look_;
}

std::optional<Duration> IdleDetector::PauseIn(Instant now) const {
  if (!Counting()) return std::nullopt;
  const Instant at =
      looked_at_ && *looked_at_ >= quiet_since_ ? next_look_ : std::max(Deadline(), awake_since_);
  return std::max(at - now, Duration(0));
}

}  // namespace im::agent
