// Host: the words and the state table that the orchestrator works by.

#ifndef IM_ORCHESTRATOR_HOST_H_
#define IM_ORCHESTRATOR_HOST_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/ip_address.h"
#include "orchestrator/cause.h"

namespace im::orchestrator {

// A row of the HostTable. The id of a removed guest may come back later.
using HostId = uint32_t;
inline constexpr HostId kNoHost = UINT32_MAX;

// Who is what, and what happens when. HostTable checks the edges, Activator
// takes them; `–` is ignored (and counted where the event names an instance
// that is not the current one).
//
//               wake (packet,      idle or release     instance's          instance ended,
//               user, wake_with)   asked               status              failed, timed out
//  Imaginary    Starting           –                   –                   –
//                                  (an imd that was restarted takes a checkpoint back: Checkpointed)
//  Starting     hold               Releasing (user)    Running; deliver    Imaginary, back-off;
//                                  (taken back on its way out: Releasing)  timed out: Releasing
//  Running      forward            Releasing (user,    Paused              Imaginary, or restart
//                                  max_lifetime)
//  Paused       forward: the       Releasing           Running (thawed)    Imaginary, or restart
//               agent thaws
//  Releasing    hold; cancel if    –                   Running if refused  Imaginary, or Checkpointed;
//               the agent may                          or cancelled        Starting or Restoring at
//               still refuse                                               once if a wake waits
//  Checkpointed Restoring          Imaginary (asked,   –                   –
//                                  or expired)
//  Restoring    hold               Releasing (user)    Running; deliver    Checkpointed or
//                                                                          Imaginary, back-off
//
// Starting always has exactly one instance asked for; a wake that waits for a
// free start slot, for other hosts or for the end of a back-off leaves the host Imaginary.
// A status of an instance that is not ready (healthcheck) changes nothing.
// A start that timed out passes through Releasing, since its instance may
// still live: the next one starts only after it has ended.
enum class HostState : uint8_t {
  kImaginary,
  kStarting,
  kRunning,
  kPaused,
  kReleasing,
  kCheckpointed,
  kRestoring,
};
inline constexpr int kHostStates = 7;

// "imaginary", "starting", …
absl::string_view HostStateName(HostState state);

// True for the edges of the table above.
bool TransitionAllowed(HostState from, HostState to);

// True if an instance lives, or may live, in this state.
bool HasInstance(HostState state);

// Shared by all hosts of one `defaults:`, so that a host costs few bytes.
struct HostPolicy {
  // What happens when a program ends without being asked to. With kNo the next
  // packet starts it.
  enum class Restart : uint8_t { kNo, kOnFailure, kAlways };

  // From the wake to the first status through the tunnel; also how long a
  // packet is held, and how long after the start the agent holds a SYN for a
  // port where nobody listens yet.
  Duration start_timeout = std::chrono::seconds(30);
  // From the pause to the release; nullopt: never.
  std::optional<Duration> release_after = std::chrono::minutes(10);
  // From the release request to the kill: stop_grace and something for the way.
  Duration stop_timeout = std::chrono::seconds(15);
  Restart restart = Restart::kNo;
  // Restarts in a row; 0: no limit. Wakes by packets are not limited by it.
  uint32_t restart_attempts_max = 0;
  // Started with the cluster, started again whenever it ended, never released.
  bool always_running = false;  // min_running: 1
  // A release that asks first puts its processes on disk.
  bool to_disk = false;
  // After so long an instance is replaced by a fresh one, or a job has failed
  // (activator_lifetime.cc), not in a group; nullopt: never.
  std::optional<Duration> max_lifetime;
  // From the checkpoint to its being forgotten; nullopt: never.
  std::optional<Duration> checkpoint_expires;

  friend bool operator==(const HostPolicy&, const HostPolicy&) = default;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_HOST_H_
