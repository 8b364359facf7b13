#include "orchestrator/agent_words.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/check.h"
#include "orchestrator/cause.h"

namespace im::orchestrator {
namespace {

using Goal = Activator::Goal;

// The most that is believed of an agent's countdown: additions must not overflow.
constexpr uint64_t kTimerMsMax = 1000ULL * 86'400 * 3'660;

Activator::Report::Disk DiskOf(const proto::InstanceStatus& status) {
  using Disk = Activator::Report::Disk;
  switch (status.disk()) {
    case proto::InstanceStatus::HELD:
      return Disk::kHeld;
    case proto::InstanceStatus::DUMPING:
      return Disk::kDumping;
    case proto::InstanceStatus::DUMPED:
      return Disk::kDumped;
    default:
      return Disk::kNotHeld;
  }
}

Activator::Report::State ReportState(const proto::InstanceStatus& status) {
  using State = Activator::Report::State;
  switch (status.state()) {
    case proto::InstanceStatus::PAUSED:
      return State::kPaused;
    case proto::InstanceStatus::RELEASING:
      return State::kReleasing;
    case proto::InstanceStatus::RELEASE_REFUSED:
      return State::kReleaseRefused;
    default:  // what a newer agent may say: it runs
      return State::kRunning;
  }
}

}  // namespace

proto::DesiredState::Goal GoalOf(Goal goal) {
  switch (goal) {
    case Goal::kRun:
    case Goal::kStay:
    case Goal::kLoosen:
      return proto::DesiredState::RUN;
    case Goal::kReleaseIfIdle:
    case Goal::kMove:
    case Goal::kDump:
    case Goal::kCommit:
      return proto::DesiredState::RELEASE_IF_IDLE;
    case Goal::kRelease:
    case Goal::kKill:
      return proto::DesiredState::RELEASE;
  }
  IM_CHECK(false);
}

proto::DesiredState::DiskStep StepOf(Goal goal) {
  switch (goal) {
    case Goal::kDump:
      return proto::DesiredState::DUMP;
    case Goal::kCommit:
      return proto::DesiredState::COMMIT;
    default:
      return proto::DesiredState::HOLD;
  }
}

Activator::Report ReportOf(const proto::InstanceStatus& status) {
  Activator::Report report;
  report.state = ReportState(status);
  report.program_ended = status.program_pid() == 0;
  report.cause = FromProto(status.wake_cause());
  report.thaw = Duration(status.thaw_ns());
  report.thaws = status.thaws();
  if (report.state == Activator::Report::State::kPaused && status.timer_in_ms() > 0)
    report.timer_in = std::chrono::milliseconds(std::min(status.timer_in_ms(), kTimerMsMax));
  report.connections = status.connections();
  report.paused_for = std::chrono::milliseconds(std::min(status.paused_for_ms(), kTimerMsMax));
  report.not_checkpointed = status.not_checkpointed();
  report.not_ready = status.not_ready();
  report.disk = DiskOf(status);
  report.waking = status.group().waking();
  return report;
}

}  // namespace im::orchestrator
