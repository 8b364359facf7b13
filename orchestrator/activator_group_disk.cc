// Groups that go to disk: all members, or none; and back, all before any of them runs.
//
//   Releasing, kReleaseIfIdle   held: frozen, its network closed, what comes is kept
//              kDump            its processes are copied; they are as they were
//              kCommit          the copy counts, the processes end
//
// The next step is asked for when every member has done the last one. Until kCommit all
// can be called off (kStay): by a member that cannot be copied or is in use, by a wake,
// by one that does not answer. Then all stay held until each of them has said that it is,
// and go on as one: paused as before, or thawed if one of them is wanted.
//
//   Restoring   the processes are back, and frozen: its agent awaits kRun, which
//               comes when this is so of every member that was on disk. Its callers wait
//               for start_timeout; it waits as long as a fellow is tried
//
// Whoever is lost on the way is lost to its fellows as it would be while they are
// paused: nobody waits for it. The same for one whose checkpoint was not used and is
// not wanted any more. If some are on disk beside others that are not (imd, or an
// agent, died in the midst of kCommit), those on disk are restored.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "orchestrator/activation.h"
#include "orchestrator/activator.h"

namespace im::orchestrator {

bool Activator::GoesToDiskTogether(HostId host) const {
  return table_.GroupOf(host).has_value() && table_.policy(host).to_disk;
}

void Activator::TouchGroup(HostId host) {
  if (GoesToDiskTogether(host)) effects_.push_back({Effect::Look{*table_.GroupOf(host)}});
}

// ---- what members say -------------------------------------------------------

// It is Releasing, and knows its goal. False: nothing of this concerns it.
bool Activator::OnDiskStep(HostId host, const Report& report) {
  Activation& activation = Get(host);
  const bool runs = report.state != Report::State::kPaused;
  switch (activation.goal) {
    case Goal::kReleaseIfIdle:
    case Goal::kDump:
    case Goal::kCommit:
      if (!report.not_checkpointed.empty()) {
        activation.ready = true;
        activation.thawed = runs;
        activation.disk_error = true;
        activation.disk_reason = absl::StrCat("not checkpointed: ", report.not_checkpointed);
        break;
      }
      if (runs) return false;  // in use
      activation.step_done = activation.goal == Goal::kReleaseIfIdle
                                 ? report.disk != Report::Disk::kNotHeld
                                 : report.disk == Report::Disk::kDumped;
      break;
    case Goal::kStay:
      // A dump that was begun is awaited.
      activation.ready = report.disk == Report::Disk::kNotHeld || report.disk == Report::Disk::kHeld;
      activation.thawed = runs;
      break;
    default:
      return false;
  }
  if (activation.ready) activation.stage_deadline = kNever;
  TouchGroup(host);
  return true;
}

void Activator::OnRestoredAndHeld(HostId host) {
  Activation& activation = Get(host);
  LeaveStarting(activation);
  activation.ready = true;
  TouchGroup(host);
}

// It did not answer.
void Activator::CallOff(HostId host, absl::string_view reason) {
  Activation& activation = Get(host);
  activation.disk_error = true;
  activation.disk_reason = absl::StrCat("not checkpointed: ", reason);
  TouchGroup(host);
}

// ---- what follows -----------------------------------------------------------

void Activator::LookAtGroup(uint32_t group) {
  if (!shutdown_reason_.empty()) return;
  std::vector<HostId> going, ready, on_disk;
  bool moving = false;  // will be ready, or on disk
  bool all_done = true;
  bool wanted = false;
  HostId up = kNoHost;
  HostId failed = kNoHost;
  bool any_up = false;
  for (const HostId host : table_.groups()[group].members) {
    const HostState state = table_[host].state;
    if (state == HostState::kImaginary) continue;
    const Activation& activation = Get(host);
    switch (state) {
      case HostState::kStarting:
        any_up = true;
        break;
      case HostState::kRunning:
      case HostState::kPaused:
        any_up = true;
        up = host;
        break;
      case HostState::kCheckpointed:
        if (activation.wanted) {
          moving = true;
        } else if (!activation.backoff.waiting(now_)) {
          on_disk.push_back(host);
        }
        break;
      case HostState::kRestoring:
        if (activation.ready) {
          ready.push_back(host);
        } else {
          moving = true;
        }
        break;
      case HostState::kReleasing:
        if (activation.goal == Goal::kRelease || activation.goal == Goal::kKill) break;
        wanted |= activation.wanted;
        if (!activation.disk_reason.empty() && failed == kNoHost) failed = host;
        if (activation.ready) {
          ready.push_back(host);
        } else if (activation.goal == Goal::kReleaseIfIdle || activation.goal == Goal::kDump) {
          going.push_back(host);
          all_done &= activation.step_done;
        } else {
          moving = true;
        }
        break;
      case HostState::kImaginary:
        break;
    }
  }
  if (!going.empty()) {
    std::string why;
    if (failed != kNoHost) {
      why = absl::StrCat("not to disk without ", table_[failed].name);
    } else if (wanted || any_up || moving || !ready.empty()) {
      why = "release cancelled";
    } else if (!all_done) {
      return;
    }
    for (const HostId host : going) {
      Activation& activation = Get(host);
      const Goal next = !why.empty()                              ? Goal::kStay
                        : activation.goal == Goal::kReleaseIfIdle ? Goal::kDump
                                                                  : Goal::kCommit;
      if (activation.disk_reason.empty()) activation.disk_reason = why;
      activation.stage_deadline = now_ + table_.policy(host).stop_timeout;
      SetGoal(host, next, MakeCause(Cause::Kind::kUnknown, why));
      Settle(host);
    }
    return;
  }
  if (moving) return;
  if (!ready.empty()) return GoOnTogether(ready);
  if (up == kNoHost) return;
  for (const HostId host : on_disk) {
    Want(host, MakeCause(Cause::Kind::kGroup, table_[up].name));
    Settle(host);
  }
}

bool Activator::FellowRestoring(HostId host) const {
  if (!GoesToDiskTogether(host)) return false;
  const std::vector<HostId>& members = table_.groups()[*table_.GroupOf(host)].members;
  return std::any_of(members.begin(), members.end(), [this](HostId fellow) {
    return table_[fellow].state == HostState::kRestoring;
  });
}

std::optional<HostId> Activator::FellowAwaited(HostId host) const {
  if (!GoesToDiskTogether(host)) return std::nullopt;
  const Activation& own = *activations_.at(host);
  if (!own.ready && !own.step_done) return std::nullopt;
  for (const HostId fellow : table_.groups()[*table_.GroupOf(host)].members) {
    const auto it = activations_.find(fellow);
    if (it == activations_.end() || it->second->ready || it->second->step_done) continue;
    const HostState state = table_[fellow].state;
    if (state == HostState::kRestoring ||
        (state == HostState::kReleasing && it->second->goal < Goal::kRelease) ||
        (state == HostState::kCheckpointed && it->second->wanted))
      return fellow;
  }
  return std::nullopt;
}

void Activator::GoOnTogether(const std::vector<HostId>& ready) {
  bool wake = false;
  Cause cause;
  for (const HostId host : ready) {
    const Activation& activation = Get(host);
    if (wake || (table_[host].state == HostState::kReleasing && !activation.wanted)) continue;
    wake = true;
    cause = activation.cause;
  }
  for (const HostId host : ready) {
    Activation& activation = Get(host);
    const bool wanted = activation.wanted;
    const bool thawed = activation.thawed;
    const std::string reason = std::exchange(activation.disk_reason, "");
    const bool error = std::exchange(activation.disk_error, false);
    if (table_[host].state == HostState::kRestoring) {
      activation.up_since = now_;
      BecomeUp(host, activation.cause, "", now_ - activation.woken_at);
      activation.rising = true;
    } else {
      BecomeUp(host, wanted ? activation.cause : Cause(), reason,
               wanted ? now_ - activation.woken_at : Duration(0), error);
      if (!thawed) BecomePaused(host, {.state = Report::State::kPaused});
    }
    SetGoal(host, wake ? Goal::kRun : Goal::kLoosen, cause);
    Settle(host);
  }
}

}  // namespace im::orchestrator
