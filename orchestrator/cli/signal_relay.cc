#include "orchestrator/cli/signal_relay.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/check.h"

namespace im::orchestrator::cli {

bool SignalIsIgnored(int signal) {
  struct sigaction action {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

SignalRelay::SignalRelay() {
  // Ignored, the ends of children would be nobody's to wait for.
  signal(SIGCHLD, SIG_DFL);
  sigemptyset(&relayed_);
  for (int signal :
       {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGCHLD}) {
    if (!SignalIsIgnored(signal)) sigaddset(&relayed_, signal);
  }
  pthread_sigmask(SIG_BLOCK, &relayed_, nullptr);
  signals_ = FileDescriptor(signalfd(-1, &relayed_, SFD_CLOEXEC | SFD_NONBLOCK));
  IM_CHECK(signals_.valid());
}

void SignalRelay::Take(const std::function<void(int signal, bool by_terminal)>& handle) {
  signalfd_siginfo info{};
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    handle(static_cast<int>(info.ssi_signo), info.ssi_code == SI_KERNEL);
  }
}

void SignalRelay::RestoreInChild() const {
  sigprocmask(SIG_UNBLOCK, &relayed_, nullptr);
}

}  // namespace im::orchestrator::cli
