#include "orchestrator/lifecycle_meter.h"

namespace im::orchestrator {

LifecycleMeter::LifecycleMeter(size_t hosts, Instant now) : advanced_to_(now) {
  hosts_[static_cast<size_t>(HostState::kImaginary)] = static_cast<int64_t>(hosts);
}

void LifecycleMeter::Advance(Instant now) {
  if (now <= advanced_to_) return;
  for (size_t i = 0; i < hosts_.size(); ++i) time_[i] += hosts_[i] * (now - advanced_to_);
  advanced_to_ = now;
}

void LifecycleMeter::OnTransition(const Transition& transition, bool wakes) {
  Advance(transition.at);
  --hosts_[static_cast<size_t>(transition.from)];
  ++hosts_[static_cast<size_t>(transition.to)];
  if (transition.to == HostState::kRunning && wakes) {
    WakeKind kind;
    switch (transition.from) {
      case HostState::kStarting:
        kind = WakeKind::kCold;
        break;
      case HostState::kPaused:
        kind = WakeKind::kThaw;
        break;
      case HostState::kRestoring:
        kind = WakeKind::kRestore;
        break;
      default:
        return;  // a release that was refused or called off
    }
    const auto cause = static_cast<size_t>(transition.cause.kind);
    ++wakes_[static_cast<size_t>(kind)][cause < kCauseKinds ? cause : 0];
    durations_[static_cast<size_t>(kind)].Add(transition.duration);
  }
  const bool from_start =
      transition.from == HostState::kStarting || transition.from == HostState::kRestoring;
  if (transition.to != HostState::kImaginary) {
    // Its instance may still live, but the start is over.
    if (transition.error && from_start) ++failed_starts_;
    return;
  }
  if (from_start) {
    if (transition.error) ++failed_starts_;
  } else if (transition.error) {
    ++failed_programs_;
  } else {
    ++releases_;
  }
}

Duration LifecycleMeter::host_time(HostState state, Instant now) const {
  const auto i = static_cast<size_t>(state);
  return time_[i] + (now > advanced_to_ ? hosts_[i] * (now - advanced_to_) : Duration(0));
}

Duration LifecycleMeter::configured_time(Instant now) const {
  Duration sum(0);
  for (int i = 0; i < kHostStates; ++i) sum += host_time(static_cast<HostState>(i), now);
  return sum;
}

absl::string_view WakeKindName(LifecycleMeter::WakeKind kind) {
  switch (kind) {
    case LifecycleMeter::WakeKind::kCold:
      return "cold";
    case LifecycleMeter::WakeKind::kThaw:
      return "thaw";
    case LifecycleMeter::WakeKind::kRestore:
      return "restore";
  }
  return "";
}

}  // namespace im::orchestrator
