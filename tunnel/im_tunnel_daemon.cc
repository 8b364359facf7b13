#include "tunnel/im_tunnel_daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

namespace im::tunnel {
namespace {

// One byte for success; nothing but the message for failure.
constexpr char kReady = '\0';

[[noreturn]] void WaitForReport(FileDescriptor child) {
  std::string report;
  char bytes[512];
  while (true) {
    const ssize_t size = read(child.get(), bytes, sizeof(bytes));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    report.append(bytes, static_cast<size_t>(size));
  }
  if (report == std::string(1, kReady)) _exit(0);
  std::fprintf(stderr, "im-tunnel: %s\n", report.empty() ? "it ended unexpectedly" : report.c_str());
  _exit(1);
}

}  // namespace

absl::StatusOr<ImTunnelDaemon> ImTunnelDaemon::Enter(bool keep_stderr) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus("make a pipe");
  FileDescriptor reader(ends[0]), writer(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) return ErrnoStatus("fork");
  if (pid > 0) {
    writer.Reset();
    WaitForReport(std::move(reader));
  }
  setsid();
  static_cast<void>(chdir("/"));
  const FileDescriptor null(open("/dev/null", O_RDWR | O_CLOEXEC));
  dup2(null.get(), STDIN_FILENO);
  dup2(null.get(), STDOUT_FILENO);
  if (!keep_stderr) dup2(null.get(), STDERR_FILENO);
  return ImTunnelDaemon(std::move(writer));
}

void ImTunnelDaemon::Report(const absl::Status& status) {
  if (!parent_.valid()) return;
  const std::string report = status.ok() ? std::string(1, kReady) : std::string(status.message());
  static_cast<void>(!write(parent_.get(), report.data(), report.size()));
  parent_.Reset();
}

}  // namespace im::tunnel
