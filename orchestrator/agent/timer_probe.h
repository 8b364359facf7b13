// TimerProbe: what a host's tasks wait for, read from /proc.

#ifndef IM_ORCHESTRATOR_AGENT_TIMER_PROBE_H_
#define IM_ORCHESTRATOR_AGENT_TIMER_PROBE_H_

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "orchestrator/agent/frozen_rests.h"
#include "orchestrator/agent/timer_watch.h"

namespace im::agent {

// Tasks of a host that are looked at; a look at so many takes some 100 ms.
// Timers of further ones are not seen.
inline constexpr size_t kTasksMax = 4096;
// Descriptors of a process among which timerfds are looked for.
inline constexpr size_t kDescriptorsMax = 65'536;

struct TimerLook {
  std::vector<TimerSeen> seen;
  std::vector<FrozenRest> rests;  // of the same tasks
  std::string running;            // the name of a task that did not wait, if there was one
};

// With their timerfds, if `with_fds`.
TimerLook LookAtTimers(const std::vector<pid_t>& processes, bool with_fds);

// What processes did that can be noticed from outside: a number that grows when
// they write anything, or are done with a child. (Of one that ends, its parent
// has the figures.)
uint64_t CountDeeds(const std::vector<pid_t>& processes);

// The text of /proc/PID/fdinfo/FD of a timerfd; nullopt if it is not one that
// will expire. The task is left to the caller.
std::optional<TimerSeen> ParseTimerFd(absl::string_view text);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_TIMER_PROBE_H_
