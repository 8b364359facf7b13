#include "orchestrator/cli/foreground.h"

#include <signal.h>
#include <sys/wait.h>

#include <cstdio>
#include <list>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "orchestrator/cli/daemon.h"
#include "orchestrator/cli/event_view.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/signal_relay.h"

namespace im::orchestrator::cli {
namespace {

sigset_t ForegroundSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGINT, SIGTERM, SIGCHLD}) sigaddset(&set, signal);
  // Not under nohup. Ctrl-C ends us also where a shell script put us into its
  // background, with SIGINT ignored.
  if (!SignalIsIgnored(SIGHUP)) sigaddset(&set, SIGHUP);
  return set;
}

// The exit status, once it has ended.
std::optional<int> Reap(pid_t pid) {
  int status = 0;
  return waitpid(pid, &status, WNOHANG) == pid ? std::optional(status) : std::nullopt;
}

// A call whose stream of events is printed, in a thread of its own.
class PrintedStream {
 public:
  template <typename Open>
  PrintedStream(EventPrinter& printer, Open open)
      : thread_([this, &printer, open] {
          const auto stream = open(&call_);
          proto::Event event;
          while (stream->Read(&event)) printer.Print(event);
          stream->Finish();
        }) {}
  ~PrintedStream() {
    call_.TryCancel();
    thread_.join();
  }

 private:
  grpc::ClientContext call_;
  std::thread thread_;
};

}  // namespace

void BlockForegroundSignals() {
  signal(SIGCHLD, SIG_DFL);  // ignored, imd's end would be nobody's to wait for
  const sigset_t set = ForegroundSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

int StayInForeground(Client& client, pid_t imd, size_t host_width, const Terminal& terminal) {
  EventPrinter printer(host_width, terminal);
  std::list<PrintedStream> streams;
  streams.emplace_back(printer, [&](grpc::ClientContext* call) {
    proto::EventsRequest request;
    request.set_follow(true);
    return client.stub().Events(call, request);
  });
  const auto down = [&](bool force) {
    streams.emplace_back(printer, [&client, force](grpc::ClientContext* call) {
      proto::DownRequest request;
      request.set_force(force);
      return client.stub().Down(call, request);
    });
  };
  const sigset_t set = ForegroundSignals();
  int asked = 0;
  std::optional<int> status = Reap(imd);
  while (!status) {
    siginfo_t info{};
    const int signal = sigwaitinfo(&set, &info);
    if (signal == SIGCHLD || signal < 0) {
      status = Reap(imd);
      continue;
    }
    ++asked;
    if (asked == 1) {
      std::fputs(terminal.Plain("\nstopping all hosts… (again to kill them)\n").c_str(), stdout);
      down(/*force=*/false);
    } else if (asked == 2) {
      std::fputs("\nkilling all hosts\n", stdout);
      down(/*force=*/true);
    } else {
      kill(imd, SIGKILL);
    }
    std::fflush(stdout);
  }
  streams.clear();
  const bool clean = WIFEXITED(*status) && WEXITSTATUS(*status) == 0;
  if (clean) return kExitOk;
  PrintError(absl::StrCat("imd ", HowItEnded(*status), "; hosts that run are taken back by the next im up; the end "
                          "of ", DaemonLog(client.state_directory()), ":",
                          DaemonLogTail(client.state_directory())));
  return kExitFailure;
}

}  // namespace im::orchestrator::cli
