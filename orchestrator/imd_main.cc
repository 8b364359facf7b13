// imd: the orchestrator of one cluster. Normally started by `im up`.

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "base/random.h"
#include "orchestrator/criu.h"
#include "orchestrator/imd.h"
#include "orchestrator/providers/process_provider.h"
#include "orchestrator/version.h"

namespace im::orchestrator {
namespace {

constexpr int kExitError = 1;
constexpr int kExitBadInput = 2;  // the spec or the command line
constexpr int kExitRunning = 3;   // another imd has the state directory

// Descriptors for all but instances and published ports.
constexpr rlim_t kOtherDescriptors = 256;

// After which imd ends even if instances are left (the next one takes them
// back): their own bounds and a little more.
constexpr Duration kDownMargin = std::chrono::seconds(30);

struct Arguments {
  std::string spec;
  std::string state_dir;
  std::string agent;
  std::optional<uid_t> owner;
  std::optional<Endpoint> metrics;
  std::optional<Endpoint> http;
  AttachMode auto_attach = AttachMode::kTun;
  int ready_fd = -1;
  bool debug = false;
};

// A running instance costs a descriptor, a client of a published port another.
// The limit is raised only where it is too low, because programs inherit it.
void RaiseDescriptorLimit(const ClusterSpec& spec) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  rlim_t needed = kOtherDescriptors + spec.hosts.size();
  for (const HostSpec& host : spec.hosts) needed += host.ports.size() * kPublishedConnectionsMax;
  if (needed <= limit.rlim_cur) return;
  limit.rlim_cur = std::min(needed, limit.rlim_max);
  if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < needed) {
    IM_LOG(kWarning, "at most ", limit.rlim_cur, " descriptors, but ", needed,
           " may be needed; raise the limit (ulimit -Hn)");
  }
}

Duration DownBound(const ClusterSpec& spec) {
  Duration longest(0);
  for (const HostSpec& host : spec.hosts) longest = std::max(longest, host.stop_grace_period);
  return longest + kDownMargin;
}

int Fail(const absl::Status& status, int code) {
  std::fprintf(stderr, "imd: %s\n", std::string(status.message()).c_str());
  return code;
}

// SIGTERM or SIGINT: release all; a second one: kill them.
class Signals {
 public:
  // Before any thread begins, so that all inherit the mask.
  static void Block() {
    const sigset_t set = Set();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    signal(SIGPIPE, SIG_IGN);
  }

  Signals(EventLoop& loop, Imd& imd, Duration bound)
      : loop_(loop), imd_(imd), bound_(bound) {
    const sigset_t set = Set();
    fd_ = FileDescriptor(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    watch_ = loop.WatchFd(fd_.get(), EPOLLIN, [this](uint32_t) { OnReadable(); });
  }

 private:
  static sigset_t Set() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
  }

  void OnReadable() {
    signalfd_siginfo info;
    while (read(fd_.get(), &info, sizeof info) == sizeof info) {
      imd_.Down(strsignal(static_cast<int>(info.ssi_signo)), /*force=*/count_++ > 0);
    }
    bound_timer_ = loop_.After(bound_, [this] {
      IM_LOG(kError, "instances are left that did not end in time");
      loop_.Stop();
    });
  }

  EventLoop& loop_;
  Imd& imd_;
  const Duration bound_;
  FileDescriptor fd_;
  EventLoop::Watch watch_;
  EventLoop::Timer bound_timer_;
  int count_ = 0;
};

int Run(const Arguments& arguments) {
  InitLog("imd", arguments.debug ? LogLevel::kDebug : LogLevel::kInfo);
  Signals::Block();
  SpecSources sources = SpecSources::Real();
  sources.auto_attach = arguments.auto_attach;
  std::string criu;
  sources.no_checkpoints = [&criu]() -> std::optional<std::string> {
    absl::StatusOr<std::string> found = FindCriu();
    if (!found.ok()) return std::string(found.status().message());
    criu = *std::move(found);
    return std::nullopt;
  };
  ParsedClusterSpec parsed = LoadClusterSpec(arguments.spec, sources);
  for (const Diagnostic& error : parsed.errors) {
    std::fprintf(stderr, "%s\n", error.ToString().c_str());
  }
  if (!parsed.spec) return kExitBadInput;
  absl::StatusOr<StateDir> state_dir = StateDir::Open(arguments.state_dir);
  if (!state_dir.ok()) {
    const bool taken = state_dir.status().code() == absl::StatusCode::kFailedPrecondition;
    return Fail(state_dir.status(), taken ? kExitRunning : kExitError);
  }
  parsed.spec->hosts.Compact();
  malloc_trim(0);  // what the parser needed
  RaiseDescriptorLimit(*parsed.spec);
  const Duration down_bound = DownBound(*parsed.spec);

  RealClock clock;
  SecureRandom random;
  absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create(clock);
  if (!loop.ok()) return Fail(loop.status(), kExitError);
  EventLoop& events = **loop;
  bool down = false;
  absl::StatusOr<std::unique_ptr<Imd>> imd =
      Imd::Start({.spec = *std::move(parsed.spec),
                  .state_dir = *std::move(state_dir),
                  .api_owner = arguments.owner,
                  .agent_path = arguments.agent.empty() ? DefaultAgentPath() : arguments.agent,
                  .criu = criu,
                  .metrics = arguments.metrics,
                  .http = arguments.http,
                  .on_down =
                      [&] {
                        down = true;
                        events.Stop();
                      }},
                 events, random);
  if (!imd.ok()) return Fail(imd.status(), kExitError);
  {
    const Signals signals(events, **imd, down_bound);
    if (arguments.ready_fd >= 0) {
      FileDescriptor ready(arguments.ready_fd);
      // Whoever started us may have gone; that is no reason to end.
      [[maybe_unused]] const ssize_t n = write(ready.get(), "ready\n", 6);
    }
    events.Run();
  }
  if (!down) return kExitError;
  const absl::Status removed = (*imd)->RemoveState();
  imd->reset();
  return removed.ok() ? 0 : Fail(removed, kExitError);
}

std::string IsEndpoint(const std::string& text) {
  return Endpoint::Parse(text) ? "" : absl::StrCat("expected ADDRESS:PORT, not ", text);
}

int Main(int argc, char** argv) {
  CLI::App app(
      "The orchestrator of one cluster: starts its hosts on their first packet and releases\n"
      "them when they are idle. Normally started by `im up`.",
      "imd");
  Arguments arguments;
  app.add_option("--spec", arguments.spec, "The cluster.yaml")->required();
  app.add_option("--state-dir", arguments.state_dir,
                 "Directory of this cluster's sockets, state and logs; made if missing")
      ->required();
  app.add_option("--agent", arguments.agent,
                 "im-agent to run instances with; default: $IM_AGENT, or the one beside imd");
  app.add_option("--owner", arguments.owner,
                 "Number of a user who may use the API socket as well as imd's own user");
  app.add_option_function<std::string>(
         "--metrics",
         [&](const std::string& text) { arguments.metrics = Endpoint::Parse(text); },
         "Address and port, such as 127.0.0.1:9600, to serve Prometheus metrics on besides\n"
         "metrics.sock in the state directory; anybody who can connect may read them")
      ->check(IsEndpoint);
  app.add_option_function<std::string>(
         "--http", [&](const std::string& text) { arguments.http = Endpoint::Parse(text); },
         "Address and port, such as 127.0.0.1:9601, to serve the page of `im dashboard` on from\n"
         "the start; anybody who can connect may look, who has the token may act")
      ->check(IsEndpoint);
  app.add_flag_callback(
      "--auto-netstack", [&] { arguments.auto_attach = AttachMode::kNetstack; },
      "attach: auto is netstack, as no namespaces or TUN devices are to be had here");
  app.add_option("--ready-fd", arguments.ready_fd,
                 "Descriptor that \"ready\" is written to; closed without it on failure");
  app.add_flag("--debug", arguments.debug, "Log more");
  app.set_version_flag("--version", std::string("imd ") + kVersion);
  app.footer(
      "SIGTERM or SIGINT releases all instances and ends; a second one kills them. SIGKILL\n"
      "leaves them running: imd takes them back when it is started again.\n"
      "Exit codes: 1 error, 2 bad command line or cluster.yaml, 3 the cluster is up already.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitBadInput;
  }
  if (arguments.ready_fd >= 0) fcntl(arguments.ready_fd, F_SETFD, FD_CLOEXEC);
  return Run(arguments);
}

}  // namespace
}  // namespace im::orchestrator

int main(int argc, char** argv) { return im::orchestrator::Main(argc, argv); }
