#include "orchestrator/providers/agent_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace im::orchestrator {
namespace {

constexpr int kStartFd = 3;

// "IM_INSTANCE=DIRECTORY#INCARNATION", the first of an agent's environment.
constexpr char kInstanceVariable[] = "IM_INSTANCE=";

// glibc's structures with a destructor.
class SpawnPlan {
 public:
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  posix_spawn_file_actions_t* actions() { return &actions_; }
  posix_spawnattr_t* attributes() { return &attributes_; }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

// A small file read whole; empty when it cannot be.
std::string ReadSmallFile(const std::string& path) {
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return {};
  char buffer[4096];
  const ssize_t n = read(fd.get(), buffer, sizeof buffer);
  return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
}

// Fields of /proc/PID/stat, as proc(5) counts them.
constexpr size_t kParentField = 4;
constexpr size_t kStartTimeField = 22;

std::optional<uint64_t> StatField(pid_t pid, size_t number) {
  const std::string text = ReadSmallFile(absl::StrCat("/proc/", pid, "/stat"));
  // The second field, the program's name in parentheses, may hold anything.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  const std::vector<std::string> fields =
      absl::StrSplit(text.substr(name_end + 1), ' ', absl::SkipEmpty());
  const size_t index = number - 3;  // the first one here is field 3
  uint64_t value = 0;
  if (fields.size() <= index || !absl::SimpleAtoi(fields[index], &value)) return std::nullopt;
  return value;
}

}  // namespace

absl::StatusOr<FileDescriptor> MakeRequestFile(absl::string_view first, absl::string_view second) {
  FileDescriptor file(memfd_create("im-start-request", MFD_CLOEXEC));
  if (!file.valid()) return ErrnoStatus("memfd_create");
  size_t written = 0;
  const size_t total = first.size() + second.size();
  while (written < total) {
    const absl::string_view head = written < first.size() ? first.substr(written) : "";
    const absl::string_view tail =
        written < first.size() ? second : second.substr(written - first.size());
    const iovec parts[2] = {{const_cast<char*>(head.data()), head.size()},
                            {const_cast<char*>(tail.data()), tail.size()}};
    const ssize_t n = writev(file.get(), parts, 2);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return ErrnoStatus("write the start request");
    written += static_cast<size_t>(n);
  }
  if (lseek(file.get(), 0, SEEK_SET) < 0) return ErrnoStatus("lseek");
  return file;
}

absl::StatusOr<pid_t> SpawnAgent(const AgentCommand& command) {
  SpawnPlan plan;
  posix_spawn_file_actions_addopen(plan.actions(), STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(plan.actions(), STDOUT_FILENO, command.log_path.c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0640);
  posix_spawn_file_actions_adddup2(plan.actions(), STDOUT_FILENO, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(plan.actions(), command.start_request.get(), kStartFd);
  posix_spawn_file_actions_addclosefrom_np(plan.actions(), kStartFd + 1);

  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(plan.attributes(), &signals);
  sigfillset(&signals);
  posix_spawnattr_setsigdefault(plan.attributes(), &signals);
  posix_spawnattr_setflags(plan.attributes(), POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                  POSIX_SPAWN_SETSIGDEF);

  std::string instance =
      absl::StrCat(kInstanceVariable, command.instance_dir, "#", command.incarnation);
  std::vector<char*> environment = {instance.data()};
  for (char** variable = environ; *variable != nullptr; ++variable) environment.push_back(*variable);
  environment.push_back(nullptr);
  std::string argument0 = command.agent_path;
  std::string argument1 = "--start-fd";
  std::string argument2 = absl::StrCat(kStartFd);
  char* const argv[] = {argument0.data(), argument1.data(), argument2.data(), nullptr};
  pid_t pid = 0;
  const int error = posix_spawn(&pid, command.agent_path.c_str(), plan.actions(),
                                plan.attributes(), argv, environment.data());
  if (error != 0) return ErrnoStatus(absl::StrCat("start ", command.agent_path), error);
  return pid;
}

std::vector<FoundAgent> FindAgents(absl::string_view directory) {
  const std::string begin = absl::StrCat(kInstanceVariable, directory);
  std::vector<FoundAgent> found;
  absl::flat_hash_set<pid_t> pids;
  std::error_code error;
  for (std::filesystem::directory_iterator it("/proc", error), end; !error && it != end;
       it.increment(error)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(it->path().filename().string(), &pid)) continue;
    const std::string environment = ReadSmallFile(absl::StrCat("/proc/", pid, "/environ"));
    const absl::string_view first = absl::string_view(environment).substr(0, environment.find('\0'));
    const size_t hash = first.rfind('#');
    FoundAgent agent{.pid = pid};
    if (!absl::StartsWith(first, begin) || hash == absl::string_view::npos ||
        !absl::SimpleAtoi(first.substr(hash + 1), &agent.incarnation))
      continue;
    agent.instance_dir =
        std::string(first.substr(0, hash).substr(sizeof(kInstanceVariable) - 1));
    pids.insert(pid);
    found.push_back(std::move(agent));
  }
  // Its sandbox's first process has the agent's environment, too.
  std::erase_if(found, [&pids](const FoundAgent& agent) {
    return pids.contains(static_cast<pid_t>(StatField(agent.pid, kParentField).value_or(0)));
  });
  return found;
}

std::optional<uint64_t> StartTicks(pid_t pid) { return StatField(pid, kStartTimeField); }

absl::StatusOr<FileDescriptor> OpenPidfd(pid_t pid) {
  // By number: glibc 2.36 has the function, the header of older ones has not.
  FileDescriptor fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));  // close-on-exec by itself
  if (!fd.valid()) return ErrnoStatus(absl::StrCat("pidfd_open ", pid));
  return fd;
}

std::string ReapAndDescribe(int pidfd, int* signal, int* exit_code) {
  siginfo_t info{};
  constexpr auto kById = static_cast<idtype_t>(3);  // P_PIDFD
  int result;
  do {
    result = waitid(kById, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG);
  } while (result < 0 && errno == EINTR);
  if (result < 0 || info.si_pid == 0) return {};
  if (info.si_code == CLD_EXITED) {
    *exit_code = info.si_status;
    return absl::StrCat("exited with status ", info.si_status);
  }
  *signal = info.si_status;
  *exit_code = 128 + info.si_status;
  return absl::StrCat("was killed by signal ", info.si_status);
}

absl::Status SignalPidfd(int pidfd, int signal) {
  if (syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) < 0) {
    return ErrnoStatus("pidfd_send_signal");
  }
  return absl::OkStatus();
}

}  // namespace im::orchestrator
