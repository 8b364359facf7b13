// `im up` in the foreground: shows events until Ctrl-C or the cluster's end.
//
// The first Ctrl-C (or SIGTERM, SIGHUP) stops all hosts as `im down` does; the
// second kills them; the third kills imd and leaves its instances to the next
// `im up`. SIGHUP stays ignored under nohup. Signals are taken by
// sigwaitinfo(2) in one thread, and must be blocked before any other thread is
// made.

#ifndef IM_ORCHESTRATOR_CLI_FOREGROUND_H_
#define IM_ORCHESTRATOR_CLI_FOREGROUND_H_

#include <sys/types.h>

#include "orchestrator/cli/client.h"
#include "orchestrator/cli/terminal.h"

namespace im::orchestrator::cli {

// Preconditions: no other thread runs yet.
void BlockForegroundSignals();

// `imd` is our child. Returns the exit code.
int StayInForeground(Client& client, pid_t imd, size_t host_width, const Terminal& terminal);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_FOREGROUND_H_
