// SignalRelay: signals that are meant for a program which runs elsewhere.
// Those that are ignored (nohup) stay so.

#ifndef IM_ORCHESTRATOR_CLI_SIGNAL_RELAY_H_
#define IM_ORCHESTRATOR_CLI_SIGNAL_RELAY_H_

#include <signal.h>

#include <functional>

#include "base/file_descriptor.h"

namespace im::orchestrator::cli {

// Whoever started us does not want it to have an effect. Blocked, it would be
// queued all the same.
bool SignalIsIgnored(int signal);

class SignalRelay {
 public:
  // Blocks the signals for this thread and those that it makes later.
  // Preconditions: no other thread runs yet.
  SignalRelay();

  // Readable when a signal waits.
  int fd() const { return signals_.get(); }

  // Takes those that wait. `by_terminal`: by a key at the terminal, which
  // sends it to every process of the foreground group. SIGCHLD comes too.
  void Take(const std::function<void(int signal, bool by_terminal)>& handle);

  // In a child between fork and exec: gives back what was blocked.
  void RestoreInChild() const;

 private:
  sigset_t relayed_;
  FileDescriptor signals_;
};

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_SIGNAL_RELAY_H_
