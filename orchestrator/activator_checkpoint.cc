// Checkpoints: hosts whose processes are on disk, and their way back.
//
//   Releasing → Checkpointed   the instance ended, and says so
//   Checkpointed → Restoring   any wake; a timer of the program
//   Checkpointed → Imaginary   asked, or checkpoint_expires after it was made:
//                              nobody wants it while that is due
//   Restoring → Running        the first status, as of a start
//   Restoring → Imaginary      it failed after it was begun: lost
//   Restoring → Checkpointed   it failed before (no sandbox, no tunnel)
//
//   Running, Paused → Releasing → Checkpointed → Restoring
//                              max_lifetime is over: the host moves to a fresh
//                              instance with all that it has. The old one is ended
//                              when the checkpoint is whole. Refused, it is tried
//                              again after Limits::move_retry
//
// A checkpoint that is not used up is tried again, after a back-off as that of
// starts. Its age counts from when it was made, not from the last try.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "orchestrator/activation.h"
#include "orchestrator/activator.h"

namespace im::orchestrator {

void Activator::AdoptCheckpoint(HostId host, Duration age, std::optional<Duration> timer_in,
                                Instant now) {
  Scope scope(*this, now);
  IM_CHECK(table_[host].state == HostState::kImaginary && !table_[host].guest);
  BecomeCheckpointed(host, age, timer_in, "taken back", /*error=*/false);
  if (Get(host).wanted) TryStart(host);
  Settle(host);
}

void Activator::BecomeCheckpointed(HostId host, Duration age, std::optional<Duration> timer_in,
                                   absl::string_view reason, bool error) {
  Activation& activation = Get(host);
  activation.stage_deadline = kNever;
  activation.timer_at.reset();
  if (timer_in) activation.timer_at = now_ + *timer_in;
  if (activation.made_at == kNever) activation.made_at = now_ - age;
  const std::optional<Duration> expires = table_.policy(host).checkpoint_expires;
  activation.expires_at = expires ? activation.made_at + *expires : kNever;
  Move(host, HostState::kCheckpointed, Cause(), reason, error);
}

void Activator::OnRestoreFailed(HostId host, const End& end) {
  Activation& activation = Get(host);
  const std::string reason =
      absl::StrCat("restore failed: ", end.message,
                   end.checkpoint_kept ? "" : "; what was in its memory is lost");
  activation.backoff.Fail(limits_.backoff, reason, now_);
  if (end.checkpoint_kept) {
    BecomeCheckpointed(host, Duration(0), end.timer_in, reason, /*error=*/true);
  } else {
    activation.made_at = kNever;
    Move(host, HostState::kImaginary, Cause(), reason, /*error=*/true);
  }
  RefuseHeld(host, reason, /*wake_over=*/true);
  WantAgain(host);
  if (end.checkpoint_kept && !activation.wanted && FellowRestoring(host))
    Want(host, MakeCause(Cause::Kind::kGroup, "its fellows wait for it"));
  // A timer that is due already waits for the back-off, too.
  if (activation.timer_at && *activation.timer_at <= now_) OnCheckpointDeadline(host);
}

// The host is Checkpointed.
void Activator::ForgetCheckpoint(HostId host, absl::string_view reason) {
  Activation& activation = Get(host);
  const bool wanted = activation.wanted;
  activation.wanted = false;
  activation.want_until = kNever;
  activation.stage_deadline = kNever;
  activation.timer_at.reset();
  activation.expires_at = kNever;
  activation.made_at = kNever;
  Dequeue(activation);
  Move(host, HostState::kImaginary, Cause(), reason);
  RefuseHeld(host, reason, /*wake_over=*/wanted);
  WantAgain(host);
}

void Activator::OnCheckpointDeadline(HostId host) {
  if (table_[host].state != HostState::kCheckpointed) return;
  Activation& activation = Get(host);
  if (activation.timer_at && *activation.timer_at <= now_) {
    activation.timer_at.reset();
    return Want(host, MakeCause(Cause::Kind::kTimer), /*for_ever=*/true);
  }
  if (!activation.wanted && activation.expires_at <= now_) {
    ForgetCheckpoint(host, absl::StrCat("its checkpoint expired after ",
                                        DurationText(*table_.policy(host).checkpoint_expires)));
  }
}

}  // namespace im::orchestrator
