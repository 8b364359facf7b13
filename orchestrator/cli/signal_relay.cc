#include "orchestrator/cli/signal_relay.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/check.h"

namespace im::orchestrator::cli {
namespace {

sigset_t RelayedSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal :
       {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT, SIGCHLD}) {
    sigaddset(&set, signal);
  }
  return set;
}

}  // namespace

SignalRelay::SignalRelay() {
  const sigset_t set = RelayedSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = FileDescriptor(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  IM_CHECK(signals_.valid());
}

void SignalRelay::Take(const std::function<void(int signal, bool by_terminal)>& handle) {
  signalfd_siginfo info{};
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    handle(static_cast<int>(info.ssi_signo), info.ssi_code == SI_KERNEL);
  }
}

void SignalRelay::RestoreInChild() const {
  const sigset_t set = RelayedSignals();
  sigprocmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace im::orchestrator::cli
