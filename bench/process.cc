#include "bench/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace im::bench {
namespace {

Instant After(Duration time) { return RealClock().Now() + time; }

// False when the deadline passed first.
bool AwaitEvents(int fd, short events, Instant deadline) {
  for (;;) {
    const Duration left = deadline - RealClock().Now();
    pollfd waiting{fd, events, 0};
    // Rounded up, so that it is not polled with 0 while something is left.
    const auto left_ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    const int ready =
        poll(&waiting, 1, static_cast<int>(std::clamp<int64_t>(left_ms, 0, INT32_MAX)));
    if (ready > 0) return true;
    if (ready == 0) return false;
    if (errno != EINTR) return true;  // whoever reads or writes sees the error
  }
}

struct Pipe {
  FileDescriptor read_end;
  FileDescriptor write_end;
};

absl::StatusOr<Pipe> MakePipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoStatus("pipe2");
  return Pipe{FileDescriptor(fds[0]), FileDescriptor(fds[1])};
}

[[noreturn]] void RunChild(const Process::Options& options, int input, int output, int go) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_DFL);  // im-bench ignores it; pasta does not start so
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  if (options.new_network && unshare(CLONE_NEWNET) != 0) _exit(126);
  if (options.wait_for_go) {
    // Says that the namespace is there, then waits to be let go.
    char byte = '\n';
    if (write(STDOUT_FILENO, &byte, 1) != 1 || read(go, &byte, 1) != 1) _exit(126);
  }
  for (const std::string& assignment : options.environment) {
    const size_t equals = assignment.find('=');
    setenv(assignment.substr(0, equals).c_str(), assignment.c_str() + equals + 1, 1);
  }
  if (options.discard_output) {
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0 || dup2(nowhere, STDOUT_FILENO) < 0 || dup2(nowhere, STDERR_FILENO) < 0) {
      _exit(126);
    }
  }
  // What our caller left open for us is nothing for them. (Kernels before 5.11 cannot.)
  syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  std::vector<char*> argv;
  for (const std::string& word : options.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  _exit(127);
}

int WaitFor(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

absl::StatusOr<Process> Process::Start(const Options& options) {
  IM_ASSIGN_OR_RETURN(Pipe input, MakePipe());
  IM_ASSIGN_OR_RETURN(Pipe output, MakePipe());
  IM_ASSIGN_OR_RETURN(Pipe go, MakePipe());
  const pid_t pid = fork();
  if (pid < 0) return ErrnoStatus("fork");
  if (pid == 0) RunChild(options, input.read_end.get(), output.write_end.get(), go.read_end.get());
  Process process;
  process.pid_ = pid;
  process.input_ = std::move(input.write_end);
  // A child that reads nothing must not hold us up.
  IM_RETURN_IF_ERROR(process.input_.SetNonBlocking());
  process.output_ = std::move(output.read_end);
  process.go_ = std::move(go.write_end);
  output.write_end.Reset();
  if (options.wait_for_go) IM_RETURN_IF_ERROR(process.ReadLine().status());
  return process;
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      go_(std::move(other.go_)),
      input_(std::move(other.input_)),
      output_(std::move(other.output_)),
      unread_(std::move(other.unread_)),
      begin_(other.begin_) {}

Process::~Process() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  WaitFor(pid_);
}

void Process::Go() {
  const char byte = '\n';
  // A child that has died is seen by the next ReadLine.
  if (write(go_.get(), &byte, 1) != 1) return;
}

absl::Status Process::WriteLine(const std::string& line) {
  const std::string text = line + "\n";
  const Instant deadline = After(kAnswerTimeout);
  for (size_t written = 0; written < text.size();) {
    const ssize_t n = write(input_.get(), text.data() + written, text.size() - written);
    if (n > 0) {
      written += static_cast<size_t>(n);
    } else if (errno == EAGAIN) {
      if (!AwaitEvents(input_.get(), POLLOUT, deadline)) {
        return absl::DeadlineExceededError(absl::StrCat("child ", pid_, " reads nothing"));
      }
    } else if (errno != EINTR) {
      return ErrnoStatus(absl::StrCat("write to child ", pid_));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> Process::ReadLine(Duration timeout) {
  const Instant deadline = After(timeout);
  for (size_t searched = begin_;;) {
    if (const size_t end = unread_.find('\n', searched); end != std::string::npos) {
      std::string line = unread_.substr(begin_, end - begin_);
      begin_ = end + 1;
      return line;
    }
    unread_.erase(0, std::exchange(begin_, 0));
    if (!AwaitEvents(output_.get(), POLLIN, deadline)) {
      return absl::DeadlineExceededError(absl::StrCat("child ", pid_, " gave no answer"));
    }
    searched = unread_.size();
    char buffer[1 << 16];
    const ssize_t n = read(output_.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return absl::OutOfRangeError(absl::StrCat("child ", pid_, " ended"));
    unread_.append(buffer, static_cast<size_t>(n));
  }
}

absl::StatusOr<std::string> Process::Ask(const std::string& line) {
  IM_RETURN_IF_ERROR(WriteLine(line));
  return ReadLine();
}

int Process::Finish(Duration timeout) {
  input_.Reset();
  const pid_t pid = std::exchange(pid_, -1);
  const FileDescriptor end(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!end.valid() || !AwaitEvents(end.get(), POLLIN, After(timeout))) kill(pid, SIGKILL);
  return WaitFor(pid);
}

absl::StatusOr<std::string> RunCommand(const std::vector<std::string>& argv,
                                       const std::vector<std::string>& environment,
                                       Duration timeout) {
  IM_ASSIGN_OR_RETURN(Process process, Process::Start({.argv = argv, .environment = environment}));
  const Instant deadline = After(timeout);
  std::string output;
  for (;;) {
    const Duration left = deadline - RealClock().Now();
    absl::StatusOr<std::string> line = process.ReadLine(left);
    if (absl::IsOutOfRange(line.status())) break;
    if (!line.ok()) return Annotate(line.status(), absl::StrJoin(argv, " "));
    if (left <= Duration(0)) {
      return absl::DeadlineExceededError(absl::StrCat(absl::StrJoin(argv, " "), ": no end"));
    }
    absl::StrAppend(&output, *line, "\n");
  }
  if (const int code = process.Finish(deadline - RealClock().Now()); code != 0) {
    return absl::InternalError(absl::StrCat(absl::StrJoin(argv, " "), ": exit ", code));
  }
  return output;
}

}  // namespace im::bench
