#include "orchestrator/agent/spawn.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file_descriptor.h"

namespace im::agent {
namespace {

constexpr char kDefaultPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr size_t kErrorBytesMax = 512;

struct Limit {
  const char* name;
  int resource;
};
constexpr Limit kLimits[] = {
    {"as", RLIMIT_AS},           {"core", RLIMIT_CORE},     {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},       {"fsize", RLIMIT_FSIZE},   {"locks", RLIMIT_LOCKS},
    {"memlock", RLIMIT_MEMLOCK}, {"nice", RLIMIT_NICE},     {"nofile", RLIMIT_NOFILE},
    {"nproc", RLIMIT_NPROC},     {"rss", RLIMIT_RSS},       {"rtprio", RLIMIT_RTPRIO},
    {"stack", RLIMIT_STACK},     {"msgqueue", RLIMIT_MSGQUEUE},
    {"rttime", RLIMIT_RTTIME},   {"sigpending", RLIMIT_SIGPENDING},
};

// Like fork, but the child is born into the cgroup where the kernel can do
// that (5.7); otherwise `joined` is false. The child must not rely on what
// libc keeps of threads; it sets up and execs, nothing else.
pid_t ForkInto(int cgroup_fd, bool& joined) {
  joined = true;
  if (cgroup_fd >= 0) {
    clone_args args = {};
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = SIGCHLD;
    args.cgroup = static_cast<uint64_t>(cgroup_fd);
    const pid_t pid = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof(args)));
    if (pid >= 0) return pid;
    joined = false;
  }
  return static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr));
}

// In the child: what went wrong, in words, to the parent.
[[noreturn]] void FailWith(int error_pipe, std::string text) {
  text.resize(std::min(text.size(), kErrorBytesMax));
  [[maybe_unused]] const ssize_t n = write(error_pipe, text.data(), text.size());
  _exit(127);
}

[[noreturn]] void Fail(int error_pipe, const std::string& attempt, int error) {
  FailWith(error_pipe, absl::StrCat(attempt, ": ", std::strerror(error)));
}

void JoinCgroups(const SpawnOptions& options, bool joined, int error_pipe) {
  // "0" is the writer. What cannot be joined was checked when it was opened.
  for (int fd : options.cgroup_joins)
    if (write(fd, "0", 1) != 1) Fail(error_pipe, "join cgroup", errno);
  if (joined) return;
  const FileDescriptor procs(openat(options.cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC));
  if (!procs.valid() || write(procs.get(), "0", 1) != 1) Fail(error_pipe, "join cgroup", errno);
}

void TakeStdio(const SpawnOptions& options, int error_pipe) {
  for (int i = 0; i < 3; ++i) {
    const int fd = options.stdio[i];
    if (fd < 0) continue;
    // The caller's are above 2, so none is overwritten before it is used.
    if (dup2(fd, i) < 0) Fail(error_pipe, "dup2", errno);
  }
}

void SetLimits(const SpawnOptions& options, int error_pipe) {
  for (const auto& [name, value] : options.ulimits) {
    const std::string wanted = absl::AsciiStrToLower(name);
    bool known = false;
    for (const Limit& limit : kLimits) {
      if (wanted != limit.name) continue;
      known = true;
      const rlimit values = {value, value};
      if (setrlimit(static_cast<__rlimit_resource_t>(limit.resource), &values) != 0)
        Fail(error_pipe, absl::StrCat("set ulimit ", name, " to ", value), errno);
    }
    if (!known) Fail(error_pipe, absl::StrCat("set ulimit ", name), EINVAL);
  }
}

void SetUser(const SpawnOptions& options, int error_pipe) {
  if (!options.set_user || (geteuid() != 0 && geteuid() == options.uid)) return;
  const std::vector<gid_t> groups(options.groups.begin(), options.groups.end());
  if (setgroups(groups.size(), groups.data()) != 0) Fail(error_pipe, "setgroups", errno);
  if (setgid(options.gid) != 0) Fail(error_pipe, absl::StrCat("setgid ", options.gid), errno);
  if (setuid(options.uid) != 0) Fail(error_pipe, absl::StrCat("setuid ", options.uid), errno);
}

void ResetSignals() {
  // The one that the agent ignores for itself. What whoever started the agent
  // ignores stays so: nohup has its effect in `im run`, too.
  signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

[[noreturn]] void Exec(const SpawnOptions& options, int error_pipe) {
  std::vector<std::string> arguments = options.argv;
  std::vector<std::string> environment;
  for (const auto& [name, value] : options.environment)
    environment.push_back(absl::StrCat(name, "=", value));
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(environment);
  const std::string& name = options.argv[0];
  const std::string attempt = absl::StrCat("exec ", name);
  if (name.empty()) Fail(error_pipe, attempt, ENOENT);
  if (name.find('/') != std::string::npos) {
    execve(name.c_str(), argv.data(), envp.data());
    Fail(error_pipe, attempt, errno);
  }
  auto path = options.environment.find("PATH");
  int error = ENOENT;
  for (absl::string_view directory : absl::StrSplit(
           path == options.environment.end() ? kDefaultPath : path->second.c_str(), ':')) {
    const std::string file = absl::StrCat(directory.empty() ? "." : directory, "/", name);
    execve(file.c_str(), argv.data(), envp.data());
    // One that may not be run tells more than one that is not there.
    if (errno != ENOENT && errno != ENOTDIR) error = errno;
    if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) break;
  }
  Fail(error_pipe, attempt, error);
}

}  // namespace

SpawnOptions OptionsFor(const proto::Program& program) {
  SpawnOptions options;
  options.argv.assign(program.argv().begin(), program.argv().end());
  for (const auto& [name, value] : program.environment()) options.environment[name] = value;
  options.working_dir = program.working_dir();
  options.uid = program.uid();
  options.gid = program.gid();
  options.groups.assign(program.supplementary_gids().begin(), program.supplementary_gids().end());
  for (const auto& [name, value] : program.ulimits()) options.ulimits[name] = value;
  return options;
}

absl::StatusOr<pid_t> Spawn(const SpawnOptions& options) {
  if (options.argv.empty()) return absl::InvalidArgumentError("exec: no command");
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoStatus("pipe");
  FileDescriptor from_child(fds[0]), to_parent(fds[1]);
  bool joined = false;
  const pid_t pid = ForkInto(options.cgroup_fd, joined);
  if (pid < 0) return ErrnoStatus("fork");
  if (pid == 0) {
    const int error_pipe = to_parent.get();
    if (options.new_session) setsid();
    JoinCgroups(options, joined, error_pipe);
    TakeStdio(options, error_pipe);
    SetLimits(options, error_pipe);
    // As root first: the folder may lie where the program's user cannot walk to,
    // such as somebody's home, and it can be worked in all the same. A file
    // system that keeps root out may let the user in.
    const std::string directory = options.working_dir.empty() ? "/" : options.working_dir;
    const bool entered = chdir(directory.c_str()) == 0;
    SetUser(options, error_pipe);
    if (!entered && chdir(directory.c_str()) != 0)
      Fail(error_pipe, absl::StrCat("change to directory ", directory), errno);
    umask(022);
    ResetSignals();
    if (options.in_child) {
      if (const absl::Status status = options.in_child(); !status.ok())
        FailWith(error_pipe, std::string(status.message()));
    }
    Exec(options, error_pipe);
  }
  to_parent.Reset();
  const absl::Status ours = options.in_caller ? options.in_caller(pid) : absl::OkStatus();
  char error[kErrorBytesMax];
  ssize_t n = 0;
  do {
    n = read(from_child.get(), error, sizeof(error));
  } while (n < 0 && errno == EINTR);
  if (n <= 0 && ours.ok()) return pid;
  if (!ours.ok()) kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  if (!ours.ok()) return ours;
  return absl::FailedPreconditionError(absl::string_view(error, static_cast<size_t>(n)));
}

int SignalOf(const std::string& name) {
  int number = 0;
  if (absl::SimpleAtoi(name, &number)) return number > 0 && number < _NSIG ? number : 0;
  const std::string upper = absl::AsciiStrToUpper(name);
  const absl::string_view bare = absl::StripPrefix(upper, "SIG");
  for (number = 1; number < _NSIG; ++number) {
    const char* known = sigabbrev_np(number);
    if (known != nullptr && bare == known) return number;
  }
  return 0;
}

}  // namespace im::agent
