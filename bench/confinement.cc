#include "bench/confinement.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file_descriptor.h"
#include "base/netlink.h"

namespace im::bench {
namespace {

constexpr char kPrefixVariable[] = "IM_BENCH_CLUSTER_PREFIX";
// For a cgroup whose last process has just ended.
constexpr std::chrono::seconds kCgroupTimeout{5};

bool WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  return static_cast<bool>(file.flush());
}

// fork(2) into new namespaces; the caller stays where it is.
pid_t ForkIntoNamespaces() {
  const unsigned long flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC |
                              (geteuid() == 0 ? 0 : CLONE_NEWUSER);
  return static_cast<pid_t>(syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, 0));
}

// In pid 1 of a user namespace: root is who started us.
absl::Status BecomeRoot(uid_t uid, gid_t gid) {
  if (uid == 0 || (WriteText("/proc/self/setgroups", "deny") &&
                   WriteText("/proc/self/uid_map", absl::StrCat("0 ", uid, " 1")) &&
                   WriteText("/proc/self/gid_map", absl::StrCat("0 ", gid, " 1")))) {
    return absl::OkStatus();
  }
  return absl::InternalError("cannot map this user into a user namespace");
}

// In pid 1: what the worker and its children see of the machine.
absl::Status PrepareFiles(const std::string& scratch) {
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return ErrnoStatus("a mount namespace");
  }
  if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
    return ErrnoStatus("mount /proc");
  }
  const std::string wireguard = "/run/wireguard";
  for (const std::string& place : {scratch, wireguard}) {
    // One that is not there and cannot be made needs no cover.
    if (place == wireguard && access(place.c_str(), F_OK) != 0 &&
        mkdir(place.c_str(), 0755) != 0) {
      continue;
    }
    if (mount("tmpfs", place.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") != 0) {
      return ErrnoStatus("a file system of our own at " + place);
    }
  }
  setenv("TMPDIR", scratch.c_str(), 1);
  return SetLinkUp("lo");
}

// Directories im/`prefix`… of all cgroup file systems, and those in them; a
// directory comes after the one that it is in.
std::vector<std::filesystem::path> FindCgroups(const std::string& prefix) {
  std::ifstream mounts("/proc/self/mounts");
  std::vector<std::filesystem::path> directories;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string device, place, type;
    fields >> device >> place >> type;
    if (type.rfind("cgroup", 0) != 0) continue;
    std::error_code error;
    for (std::filesystem::recursive_directory_iterator it(place, error), end; !error && it != end;
         it.increment(error)) {
      if (it->is_directory(error) && it->path().string().find("/im/" + prefix) != std::string::npos) {
        directories.push_back(it->path());
      }
    }
  }
  return directories;
}

// A process that the freezer of version 1 holds cannot be killed.
void ThawCgroups(const std::string& prefix) {
  for (const auto& directory : FindCgroups(prefix)) {
    const std::string state = directory / "freezer.state";
    if (access(state.c_str(), W_OK) == 0) WriteText(state, "THAWED");
  }
}

// Precondition: their processes have ended.
void RemoveCgroups(const std::string& prefix) {
  const std::vector<std::filesystem::path> directories = FindCgroups(prefix);
  const RealClock clock;
  const Instant deadline = clock.Now() + kCgroupTimeout;
  for (auto it = directories.rbegin(); it != directories.rend(); ++it) {
    while (rmdir(it->c_str()) != 0 && errno == EBUSY && clock.Now() < deadline) {
      poll(nullptr, 0, /*timeout_ms=*/2);
    }
  }
  for (const auto& directory : directories) {
    const auto top = directory.parent_path();
    if (top.filename() == "im") rmdir(top.c_str());  // if nobody else is there
  }
}

int ExitCode(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

sigset_t Signals(std::initializer_list<int> numbers) {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : numbers) sigaddset(&set, number);
  return set;
}

// Ends everything in the namespace, and gives the worker's exit code.
// `lifeline` is readable (at its end) once im-bench is gone.
int RunAsInit(const std::function<int()>& work, int lifeline, const std::string& prefix) {
  const sigset_t watched = Signals({SIGCHLD, SIGINT, SIGTERM, SIGHUP});
  sigprocmask(SIG_BLOCK, &watched, nullptr);
  const FileDescriptor events(signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  std::fflush(nullptr);
  const pid_t worker = fork();
  if (worker < 0) return 1;
  if (worker == 0) {
    sigprocmask(SIG_UNBLOCK, &watched, nullptr);
    const int code = work();
    std::fflush(nullptr);
    _exit(code);
  }
  int code = 128 + SIGTERM;
  for (bool over = false; !over;) {
    pollfd waiting[] = {{events.get(), POLLIN, 0}, {lifeline, POLLIN, 0}};
    if (poll(waiting, 2, -1) < 0 && errno != EINTR) break;
    if (waiting[1].revents != 0) break;
    signalfd_siginfo ignored;
    while (read(events.get(), &ignored, sizeof ignored) > 0) {
    }
    int status = 0;
    for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (ended == worker) code = ExitCode(status), over = true;
    }
  }
  kill(-1, SIGKILL);
  ThawCgroups(prefix);
  while (waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
  }
  RemoveCgroups(prefix);
  return code;
}

}  // namespace

std::string ConfinedClusterPrefix() {
  const char* prefix = std::getenv(kPrefixVariable);
  return prefix == nullptr ? "bench-" : prefix;
}

absl::StatusOr<int> RunConfined(const std::function<int()>& work) {
  const std::string prefix = absl::StrCat("bench-", getpid(), "-");
  setenv(kPrefixVariable, prefix.c_str(), 1);
  std::string scratch = std::filesystem::temp_directory_path() / "im-bench-XXXXXX";
  if (mkdtemp(scratch.data()) == nullptr) return ErrnoStatus("a directory " + scratch);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus("pipe2");
  FileDescriptor lifeline(ends[0]), life(ends[1]);
  const sigset_t stops = Signals({SIGINT, SIGTERM, SIGHUP, SIGCHLD});
  sigset_t before;
  sigprocmask(SIG_BLOCK, &stops, &before);
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  std::fflush(nullptr);
  const pid_t init = ForkIntoNamespaces();
  if (init < 0) {
    const absl::Status status =
        ErrnoStatus(uid == 0 ? "namespaces for the measurements"
                             : "namespaces for the measurements (run this as root, or allow user "
                               "namespaces)");
    rmdir(scratch.c_str());
    sigprocmask(SIG_SETMASK, &before, nullptr);
    return status;
  }
  if (init == 0) {
    life.Reset();
    absl::Status prepared = BecomeRoot(uid, gid);
    if (prepared.ok()) prepared = PrepareFiles(scratch);
    if (!prepared.ok()) {
      std::fprintf(stderr, "im-bench: %s\n", std::string(prepared.message()).c_str());
      _exit(1);
    }
    const int code = RunAsInit(work, lifeline.get(), prefix);
    umount2(scratch.c_str(), MNT_DETACH);
    rmdir(scratch.c_str());
    _exit(code);
  }
  lifeline.Reset();
  int code = 0, child_status = 0;
  for (pid_t ended = 0; ended != init;) {
    const int signal = sigwaitinfo(&stops, nullptr);
    if (signal > 0 && signal != SIGCHLD) {
      code = 128 + signal;
      life.Reset();
    }
    ended = waitpid(init, &child_status, WNOHANG);
  }
  if (code == 0) code = ExitCode(child_status);
  if (WIFSIGNALED(child_status)) RemoveCgroups(prefix);
  rmdir(scratch.c_str());
  sigprocmask(SIG_SETMASK, &before, nullptr);
  return code;
}

}  // namespace im::bench
