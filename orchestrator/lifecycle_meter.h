// LifecycleMeter: what the states of the cluster's hosts add up to: wakes by
// cause and kind, how long they took, failures, and host-seconds by state,
// which say what was saved: a host that is configured and imaginary costs
// nothing.
//
// Fed with every change of state. Guests (`im run`) are left out: they are no
// configured hosts, and nothing wakes them. So are instances that were taken
// back after a restart of imd: they woke long before.
//
// An agent thaws its host by itself and reports it; where several thaws fit
// between two reports, the cause and the duration are of the last one, so
// wakes of kind "thaw" may be fewer than Activator::Counters::thaws.

#ifndef IM_ORCHESTRATOR_LIFECYCLE_METER_H_
#define IM_ORCHESTRATOR_LIFECYCLE_METER_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "orchestrator/cause.h"
#include "orchestrator/histogram.h"
#include "orchestrator/host.h"
#include "orchestrator/host_table.h"
#include "proto/agent.pb.h"

namespace im::orchestrator {

class LifecycleMeter {
 public:
  enum class WakeKind : uint8_t { kCold, kThaw, kRestore };
  static constexpr size_t kWakeKinds = 3;
  static constexpr size_t kCauseKinds = proto::WakeCause::Kind_ARRAYSIZE;

  // `hosts` of them are configured, all imaginary at `now`.
  LifecycleMeter(size_t hosts, Instant now);

  // `wakes`: this change, if it leads to running, is a wake that was asked for.
  void OnTransition(const Transition& transition, bool wakes);

  uint64_t wakes(WakeKind kind, Cause::Kind cause) const {
    return wakes_[static_cast<size_t>(kind)][static_cast<size_t>(cause)];
  }
  const Histogram& durations(WakeKind kind) const {
    return durations_[static_cast<size_t>(kind)];
  }
  uint64_t failed_starts() const { return failed_starts_; }
  // Programs that failed, and instances that were lost, after they were up.
  uint64_t failed_programs() const { return failed_programs_; }
  uint64_t releases() const { return releases_; }

  // Hosts in this state times the time that they were.
  Duration host_time(HostState state, Instant now) const;
  // Of all states: what the cluster would have run.
  Duration configured_time(Instant now) const;

 private:
  void Advance(Instant now);

  std::array<std::array<uint64_t, kCauseKinds>, kWakeKinds> wakes_{};
  std::array<Histogram, kWakeKinds> durations_;
  uint64_t failed_starts_ = 0;
  uint64_t failed_programs_ = 0;
  uint64_t releases_ = 0;

  std::array<int64_t, kHostStates> hosts_{};
  std::array<Duration, kHostStates> time_{};
  Instant advanced_to_;
};

absl::string_view WakeKindName(LifecycleMeter::WakeKind kind);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_LIFECYCLE_METER_H_
