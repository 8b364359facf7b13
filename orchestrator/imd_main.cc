// imd: the orchestrator of one cluster. Normally started by `im up`.
//
// SIGTERM and SIGINT release all hosts and end it; a second one does so by
// force. After a SIGKILL the instances live on, and the next imd takes them
// back.

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "base/log.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/imd.h"
#include "orchestrator/state_dir.h"
#include "orchestrator/version.h"

namespace im::orchestrator {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitBadInput = 2;
constexpr int kExitAlreadyRunning = 3;

struct Arguments {
  std::string spec;
  std::string state_dir;
  int ready_fd = -1;
  bool debug = false;
};

int Fail(int code, absl::string_view text) {
  std::fprintf(stderr, "imd: %s\n", std::string(text).c_str());
  return code;
}

// Before any thread is made, so that all of them leave the signals to the loop.
absl::StatusOr<FileDescriptor> CatchSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  FileDescriptor fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus("signalfd");
  return fd;
}

int Serve(const Arguments& arguments) {
  const absl::StatusOr<FileDescriptor> signals = CatchSignals();
  if (!signals.ok()) return Fail(kExitFailure, signals.status().message());
  ParsedClusterSpec parsed = LoadClusterSpec(arguments.spec);
  for (const Diagnostic& error : parsed.errors) {
    std::fprintf(stderr, "%s\n", error.ToString().c_str());
  }
  if (!parsed.spec.has_value()) return kExitBadInput;
  absl::StatusOr<StateDir> dir = StateDir::Open(arguments.state_dir);
  if (!dir.ok()) {
    return Fail(absl::IsFailedPrecondition(dir.status()) ? kExitAlreadyRunning : kExitFailure,
                dir.status().message());
  }
  absl::StatusOr<std::unique_ptr<Imd>> imd = Imd::Start(*std::move(parsed.spec), *std::move(dir));
  if (!imd.ok()) return Fail(kExitFailure, imd.status().message());

  bool asked = false;
  EventLoop::Watch watch =
      (*imd)->loop().WatchFd(signals->get(), EPOLLIN, [&](uint32_t) {
        signalfd_siginfo info;
        while (read(signals->get(), &info, sizeof info) == sizeof info) {
          (*imd)->Down(/*force=*/std::exchange(asked, true));
        }
      });
  if (arguments.ready_fd >= 0) {
    const FileDescriptor ready(arguments.ready_fd);
    constexpr char kReady[] = "ready\n";
    if (write(ready.get(), kReady, sizeof kReady - 1) < 0) {
      IM_LOG(kWarning, "nobody waits for readiness");
    }
  }
  IM_LOG(kInfo, "serves ", arguments.spec);
  (*imd)->Run();
  watch.Reset();
  IM_LOG(kInfo, "is down");
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("The orchestrator of one cluster; `im up` starts it.", "imd");
  Arguments arguments;
  app.add_option("--spec", arguments.spec, "the cluster.yaml")->required();
  app.add_option("--state-dir", arguments.state_dir, "directory of its state and sockets")
      ->required();
  app.add_option("--ready-fd", arguments.ready_fd,
                 "descriptor to which \"ready\" is written when hosts can be reached");
  app.add_flag("--debug", arguments.debug, "log more");
  app.set_version_flag("--version", std::string("imd ") + kVersion);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitBadInput;
  }
  InitLog("imd", arguments.debug ? LogLevel::kDebug : LogLevel::kInfo);
  return Serve(arguments);
}

}  // namespace
}  // namespace im::orchestrator

int main(int argc, char** argv) { return im::orchestrator::Main(argc, argv); }
