#include "orchestrator/cli/daemon.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file_descriptor.h"
#include "base/status.h"
#include "orchestrator/cli/log_reader.h"

namespace im::orchestrator::cli {
namespace {

constexpr int kReadyFd = 3;
// imd needs milliseconds; this is for one that hangs.
constexpr int kReadyTimeoutMs = 60'000;
constexpr off_t kLogBytesMax = 4 << 20;  // older output is kept once, as imd.log.1
constexpr uint64_t kLogTailLines = 12;

// In the child, after fork(2): only async-signal-safe calls.
[[noreturn]] void ExecDaemon(char* const* argv, int log, int ready, bool ends_with_us,
                             pid_t parent) {
  setsid();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (ends_with_us) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);  // it has ended already
  }
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  // dup2 clears close-on-exec, except where both numbers are the same.
  if (ready == kReadyFd) {
    fcntl(ready, F_SETFD, 0);
  } else {
    dup2(ready, kReadyFd);
  }
  execv(argv[0], argv);
  dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerrordesc_np(errno));
  _exit(127);
}

enum class Readiness { kReady, kClosed, kTimeout };

// kReady once a byte has come; kClosed when the other end closed without one.
Readiness WaitForByte(int fd) {
  pollfd entry{fd, POLLIN, 0};
  int events;
  do {
    events = poll(&entry, 1, kReadyTimeoutMs);
  } while (events < 0 && errno == EINTR);
  if (events == 0) return Readiness::kTimeout;
  char byte;
  return read(fd, &byte, 1) == 1 ? Readiness::kReady : Readiness::kClosed;
}

}  // namespace

std::optional<uid_t> SudoUser(uid_t effective, const char* sudo_uid) {
  uid_t user = 0;
  if (effective != 0 || sudo_uid == nullptr || !absl::SimpleAtoi(sudo_uid, &user) || user == 0) {
    return std::nullopt;
  }
  return user;
}

std::string DaemonLog(const std::string& state_directory) {
  return absl::StrCat(state_directory, "/imd.log");
}

std::string DaemonLogTail(const std::string& state_directory) {
  std::string text = LogReader(DaemonLog(state_directory)).ReadTail(kLogTailLines);
  if (text.empty()) return "";
  if (text.back() == '\n') text.pop_back();
  std::string out;
  for (absl::string_view line : absl::StrSplit(text, '\n')) absl::StrAppend(&out, "\n  | ", line);
  return out;
}

absl::StatusOr<pid_t> StartDaemon(const DaemonOptions& options) {
  std::error_code error;
  std::filesystem::create_directories(
      std::filesystem::path(options.state_directory).parent_path(), error);
  if (mkdir(options.state_directory.c_str(), 0711) != 0 && errno != EEXIST) {
    return ErrnoStatus(absl::StrCat("make directory ", options.state_directory));
  }
  const std::string log_path = DaemonLog(options.state_directory);
  struct stat status{};
  if (stat(log_path.c_str(), &status) == 0 && status.st_size > kLogBytesMax) {
    rename(log_path.c_str(), absl::StrCat(log_path, ".1").c_str());
  }
  const FileDescriptor log(
      open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log.valid()) return ErrnoStatus(absl::StrCat("open ", log_path));
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus("make a pipe");
  const FileDescriptor ready_read(ends[0]);
  FileDescriptor ready_write(ends[1]);

  std::vector<std::string> words = {options.program, "--spec",     options.spec_path,
                                    "--state-dir",   options.state_directory, "--ready-fd",
                                    absl::StrCat(kReadyFd)};
  if (options.owner) {
    words.push_back("--owner");
    words.push_back(absl::StrCat(*options.owner));
  }
  if (!options.metrics.empty()) {
    words.push_back("--metrics");
    words.push_back(options.metrics);
  }
  if (!options.http.empty()) {
    words.push_back("--http");
    words.push_back(options.http);
  }
  if (options.auto_attach == AttachMode::kNetstack) words.push_back("--auto-netstack");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return ErrnoStatus("fork");
  if (pid == 0) {
    ExecDaemon(argv.data(), log.get(), ready_write.get(), options.ends_with_us, parent);
  }
  ready_write.Reset();
  const Readiness readiness = WaitForByte(ready_read.get());
  if (readiness == Readiness::kReady) return pid;
  if (readiness == Readiness::kTimeout) kill(pid, SIGKILL);
  int result = 0;
  waitpid(pid, &result, 0);
  const std::string how = readiness == Readiness::kTimeout ? "did not get ready"
                                                           : HowItEnded(result);
  return absl::InternalError(absl::StrCat("imd ", how, "; the end of ", log_path, ":",
                                          DaemonLogTail(options.state_directory)));
}

std::string HowItEnded(int status) {
  return WIFSIGNALED(status) ? absl::StrCat("was killed by signal ", WTERMSIG(status))
                             : absl::StrCat("ended with exit code ", WEXITSTATUS(status));
}

bool WaitForExit(pid_t pid, Duration timeout) {
  const FileDescriptor process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process.valid()) return errno == ESRCH;
  pollfd entry{process.get(), POLLIN, 0};
  const Instant end = RealClock().Now() + timeout;
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - RealClock().Now()).count();
    const int n = poll(&entry, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

}  // namespace im::orchestrator::cli
