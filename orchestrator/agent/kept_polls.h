// KeptPolls: calls of poll(2) that a checkpoint has interrupted.
//
// The kernel goes on with an interrupted poll by itself, with the deadline that it knows.
// That is not on disk, so CRIU lets the call return EINTR, in the copy and in the processes
// that it has copied; and a program that looks at the clock first then gives up a
// connection whose data have come meanwhile. So the registers are set back to the call, as
// CRIU does for calls without a rest, with what is left of the timeout: the whole of it
// less the time that the host was away, so never too little.
//
// A poll that goes on since an earlier pause is restart_syscall(2), of which nothing tells
// what call it was: that one returns EINTR.

#ifndef IM_ORCHESTRATOR_AGENT_KEPT_POLLS_H_
#define IM_ORCHESTRATOR_AGENT_KEPT_POLLS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/clock.h"

namespace im::agent {

// Before a restore, in the images in `directory` (core-THREAD.img). What is not as
// expected is left as it is.
void ContinuePolls(const std::string& directory, Duration away);

// The same of one image; "" if it is not of a thread in poll.
std::string ContinuePoll(absl::string_view image, Duration away);

// Before a thaw, in processes that are frozen by a cgroup of version 2 and were copied since
// (frozen by version 1 they cannot be traced). Some 50 us for each task in poll.
void ContinuePollsOf(const std::vector<pid_t>& processes, Duration away);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_KEPT_POLLS_H_
