#include "orchestrator/agent/process_tree.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "orchestrator/agent/proc_stat.h"

namespace im::agent {

void KeepDescendants() { prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

void KillDescendants() {
  // Who was born meanwhile is found in the next round: the killed one's children
  // are ours then.
  while (true) {
    for (const pid_t pid : Descendants(getpid())) kill(pid, SIGKILL);
    pid_t ended;
    do {
      ended = waitpid(-1, nullptr, 0);
      if (ended < 0 && errno == ECHILD) return;
    } while (ended < 0);
    // The others that have ended by now, so that few rounds are needed.
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
}

}  // namespace im::agent
