// im-agent --start-fd N: runs one host. The start request (proto::StartRequest)
// is read from descriptor N; everything else is in there.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "orchestrator/agent/agent.h"
#include "orchestrator/agent/start_request.h"

namespace {

constexpr int kUsageError = 2;
constexpr int kStartError = 125;  // as of other programs that run programs

void PrintUsage(std::FILE* out) {
  std::fputs(
      "usage: im-agent --start-fd N | --version\n"
      "\n"
      "Runs one imaginary host. Started by imd and im, which hand over what to\n"
      "run (im.proto.StartRequest) as descriptor N.\n",
      out);
}

int RefuseArguments() {
  PrintUsage(stderr);
  return kUsageError;
}

// Descriptors 0 to 2 must exist, or the first files that are opened would be
// taken for them.
void OpenStdio() {
  int fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= 2) fd = dup(fd);
  if (fd > 2) close(fd);
}

void BlockSignals() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t watched;
  sigemptyset(&watched);
  for (int number : {SIGTERM, SIGINT, SIGHUP}) {
    // Not what is ignored (nohup): blocked, it would be taken all the same.
    struct sigaction action = {};
    if (sigaction(number, nullptr, &action) == 0 && action.sa_handler != SIG_IGN)
      sigaddset(&watched, number);
  }
  sigprocmask(SIG_BLOCK, &watched, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  const im::Instant started_at = im::RealClock().Now();
  if (argc == 2 && std::strcmp(argv[1], "--help") == 0) {
    PrintUsage(stdout);
    return 0;
  }
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
    std::puts("im-agent " IM_VERSION);
    return 0;
  }
  if (argc != 3 || std::strcmp(argv[1], "--start-fd") != 0) return RefuseArguments();
  char* end = nullptr;
  const long fd = std::strtol(argv[2], &end, 10);
  if (*end != '\0' || fd < 0 || fcntl(static_cast<int>(fd), F_GETFD) < 0)
    return RefuseArguments();
  im::InitLog("im-agent", im::LogLevel::kInfo);
  OpenStdio();
  BlockSignals();

  auto request = im::agent::ReadStartRequest(im::FileDescriptor(static_cast<int>(fd)));
  if (!request.ok()) {
    std::fprintf(stderr, "im-agent: %s\n", std::string(request.status().message()).c_str());
    return kStartError;
  }
  // The terminal, and the pipe, of `im run` are the program's.
  const bool on_terminal = request->log_path().empty();
  if (on_terminal) im::InitLog("im-agent", im::LogLevel::kError);
  im::agent::Agent agent(*std::move(request), started_at);
  const im::proto::ExitReport report = agent.Run();
  if (!report.message().empty()) std::fprintf(stderr, "im-agent: %s\n", report.message().c_str());
  switch (report.reason()) {
    case im::proto::ExitReport::SANDBOX_FAILED:
    case im::proto::ExitReport::TUNNEL_FAILED:
      return kStartError;
    default:
      // For `im run` the agent stands for the program.
      return on_terminal ? report.exit_code() : 0;
  }
}
