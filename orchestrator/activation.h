// The Activator's own record of a host that is not plainly Imaginary, and what
// it has decided but not yet told its Delegate. Included by activator*.cc only.

#ifndef IM_ORCHESTRATOR_ACTIVATION_H_
#define IM_ORCHESTRATOR_ACTIVATION_H_

#include <optional>
#include <string>
#include <variant>

#include "absl/container/flat_hash_set.h"
#include "base/ip_address.h"
#include "orchestrator/activator.h"

namespace im::orchestrator {

struct Activator::Activation {
  // A wake that waits, while Imaginary (for a slot, for the back-off's end) or
  // Releasing (for the end of the instance).
  bool wanted = false;
  Cause cause;                  // of this wake, or of the one that started the instance
  Instant woken_at;             // when it came
  Instant want_until = kNever;  // refused then
  uint64_t queue_place = 0;     // in start_queue_; 0: not queued
  // By its restart policy or max_lifetime it is to be started, whoever else gives up waiting.
  std::optional<Cause> start_again;
  std::string not_admitted;     // why it was not started at the last try

  bool needs_wait = false;      // for what others have not done yet

  // The instance.
  bool holds_slot = false;  // counts against Limits::starting_max
  Goal goal = Goal::kRun;   // the newest that was set
  uint32_t kills = 0;
  uint64_t thaws = 0;       // reported by this instance
  Instant up_since;
  Instant ends_at = kNever; // of one that is or was up: max_lifetime is over
  bool connected = false;   // Paused: and has open connections, as far as was asked
  bool renews = false;      // Releasing for max_lifetime, to be started again at once
  bool overdue = false;     // Releasing for max_lifetime, a job that has not completed
  bool kept = false;        // Paused, due for release, but a leader is up
  std::optional<Instant> timer_at;  // Paused: when it thaws by itself; Checkpointed: is to run
  bool unasked = false;     // Releasing, because it ends by itself
  bool discard = false;     // Releasing, and not to be Checkpointed
  std::string not_ready;    // Starting, and heard from: why it is not up yet
  absl::flat_hash_set<IpAddress> called;  // Starting: whom it has sent something
  bool adopted = false;     // taken back from an earlier orchestrator
  Instant started_at;       // if it was
  Instant wanted_since = kNever;  // Starting: when somebody first wanted it

  // Of a member of a group that goes to disk (activator_group_disk.cc).
  bool step_done = false;   // Releasing: what `goal` asks for
  bool ready = false;       // Restoring or Releasing: frozen, until all fellows are ready
  bool thawed = false;      // ready, but it runs
  bool rising = false;      // Running, but its agent has not said so yet
  bool outsiders = false;   // Releasing, Starting: packets from outside the group are held
  std::string disk_reason;  // Releasing: why it does not go to disk
  bool disk_error = false;  // that is its own failure

  // The checkpoint, until it is used up.
  Instant made_at = kNever;
  Instant expires_at = kNever;  // Checkpointed: it is forgotten then

  Backoff backoff;
  uint32_t restarts = 0;    // in a row, by the restart policy

  // What the state waits for; kNever: nothing.
  Instant stage_deadline = kNever;
  // The one in deadlines_.
  Instant deadline = kNever;
};

// One call of a Delegate's method, or the wake of a follower, to be made when
// the state is settled.
struct Activator::Effect {
  struct Start {
    HostId host;
    uint64_t incarnation;
    Cause cause;
  };
  struct NewGoal {
    HostId host;
    uint64_t incarnation;
    Goal goal;
    Cause cause;
  };
  struct Delivery {
    HostId host;
    PacketBatch packets;
  };
  struct Refusal {
    HostId host;
    PacketBatch packets;
    std::string reason;
    bool wake_over;
  };
  struct Wait {
    HostId host;
    std::string reason;
  };
  struct Follow {
    HostId host;
    Cause cause;
  };
  // A group that goes to disk is to be looked at.
  struct Look {
    uint32_t group;
  };
  std::variant<Transition, Start, NewGoal, Delivery, Refusal, Wait, Follow, Look> what;
};

// Wraps every public call: the time, and the delivery of effects when the
// outermost one is done.
class Activator::Scope {
 public:
  Scope(Activator& activator, Instant now) : activator_(activator) {
    activator_.now_ = now;
    ++activator_.depth_;
  }
  ~Scope() {
    if (activator_.depth_ == 1) activator_.Drain();
    --activator_.depth_;
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Activator& activator_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_ACTIVATION_H_
