// FrozenRests: the rest of a wait that the kernel keeps in the program's memory.
//
// select(2), pselect6(2) and ppoll(2) write what is left of their timeout into
// the caller's memory when they are interrupted by a freeze, and wait so long
// again after it. A program that waits for a minute and was paused for most of
// it would wait another. So at the thaw, before anything of the host runs, the
// time that it was paused is taken off. Other calls keep their deadline in the
// kernel.

#ifndef IM_ORCHESTRATOR_AGENT_FROZEN_RESTS_H_
#define IM_ORCHESTRATOR_AGENT_FROZEN_RESTS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/clock.h"
#include "orchestrator/agent/task_wait.h"

namespace im::agent {

// Tasks of which it is done: it comes before the thaw, some 10 us for each.
inline constexpr size_t kRestsMax = 64;

struct FrozenRest {
  pid_t process = 0;
  pid_t task = 0;
  TaskCall call;
  uint64_t address = 0;
  int64_t unit_ns = 1;  // of the second word
  Duration whole{0};    // what stood there before the freeze
};

// A freeze takes its time. Waits until each of them was interrupted, which is
// when the kernel writes what is left, so that who counts the pause from then on
// never takes off too much. Those that were not within kInterruptedMax are
// removed from `rests`: their wait becomes longer by the pause, never too short.
inline constexpr Duration kInterruptedMax = std::chrono::milliseconds(50);
void AwaitInterruption(std::vector<FrozenRest>& rests, const Clock& clock);

// Precondition: the tasks are frozen. Those that are in another call by now are
// left alone.
void ShortenRests(const std::vector<FrozenRest>& rests, Duration paused);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_FROZEN_RESTS_H_
