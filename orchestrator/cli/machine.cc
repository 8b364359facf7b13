#include "orchestrator/cli/machine.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file_descriptor.h"
#include "orchestrator/cli/bounded_command.h"
#include "tunnel/ipsec_mb.h"
#include "tunnel/udp_offload.h"

namespace im::orchestrator::cli {
namespace {

// Newer than the headers of Debian 12.
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, uint64_t)
#endif
constexpr uint64_t kSyncWakeUp = 1;           // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP, Linux 6.6
constexpr unsigned kWaitKillable = 1u << 5;   // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 5.19
constexpr unsigned kTunUso = 0x20 | 0x40;     // TUN_F_USO4 | TUN_F_USO6, 6.2

constexpr auto kCriuBound = std::chrono::seconds(10);

std::string FileText(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Runs `trial` in a child; its result, or EIO if the child did not end well.
int InChild(const std::function<int()>& trial) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  const FileDescriptor out(ends[0]);
  FileDescriptor in(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    const int result = trial();
    _exit(write(in.get(), &result, sizeof(result)) == sizeof(result) ? 0 : 1);
  }
  in.Reset();
  if (child < 0) return errno;
  int result = EIO;
  if (read(out.get(), &result, sizeof(result)) != sizeof(result)) result = EIO;
  waitpid(child, nullptr, 0);
  return result;
}

// ---- network ----------------------------------------------------------------

// In a network namespace that goes with the child.
int TryTunUso() {
  if (unshare(CLONE_NEWNET) != 0) return errno;
  const int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (tun < 0) return errno;
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(tun, TUNSETIFF, &request) != 0) return errno;
  const unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | kTunUso;
  return ioctl(tun, TUNSETOFFLOAD, offload) == 0 ? 0 : ENOTSUP;
}

Machine::WireGuard FindWireGuard(const std::string& kernel) {
  struct stat status{};
  if (stat("/sys/module/wireguard", &status) == 0) return Machine::WireGuard::kLoaded;
  for (const char* list : {"modules.builtin", "modules.dep"}) {
    if (absl::StrContains(FileText(absl::StrCat("/lib/modules/", kernel, "/", list)),
                          "/wireguard.ko")) {
      return Machine::WireGuard::kModule;
    }
  }
  return Machine::WireGuard::kNone;
}

// ---- cgroups ----------------------------------------------------------------

struct Mounts {
  std::string v2;
  std::string v1_freezer;
  std::string v1_memory;
  bool v1 = false;
};

Mounts FindCgroups() {
  Mounts mounts;
  for (absl::string_view line : absl::StrSplit(FileText("/proc/self/mounts"), '\n')) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ');
    if (fields.size() < 4) continue;
    if (fields[2] == "cgroup2" && mounts.v2.empty()) mounts.v2 = std::string(fields[1]);
    if (fields[2] != "cgroup") continue;
    mounts.v1 = true;
    for (absl::string_view option : absl::StrSplit(fields[3], ',')) {
      if (option == "freezer") mounts.v1_freezer = std::string(fields[1]);
      if (option == "memory") mounts.v1_memory = std::string(fields[1]);
    }
  }
  return mounts;
}

// Makes a group in one of the places where agents do (agent/cgroup.h), looks
// for `file` in it and removes it: 0, or why there is none.
int TryGroup(const std::string& root, const std::string& own, const char* file) {
  int error = ENOENT;
  for (const std::string& parent : {root, own}) {
    if (parent.empty()) continue;
    const std::string path = absl::StrCat(parent, "/im-doctor-", getpid());
    if (mkdir(path.c_str(), 0755) != 0) {
      error = errno;
      continue;
    }
    const bool there = access(absl::StrCat(path, "/", file).c_str(), W_OK) == 0;
    rmdir(path.c_str());
    if (there) return 0;
    error = ENOTSUP;
  }
  return error;
}

std::string OwnGroup(const std::string& root, absl::string_view controller) {
  for (absl::string_view line : absl::StrSplit(FileText("/proc/self/cgroup"), '\n')) {
    const std::vector<absl::string_view> fields = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (fields.size() != 3) continue;
    for (absl::string_view name : absl::StrSplit(fields[1], ',')) {
      if (name == controller) return absl::StrCat(root, fields[2]);
    }
  }
  return "";
}

void ExamineCgroups(Machine& machine) {
  using Cgroups = Machine::Cgroups;
  const Mounts mounts = FindCgroups();
  const bool v2 = !mounts.v2.empty();
  machine.cgroups = v2 && mounts.v1 ? Cgroups::kHybrid
                    : v2            ? Cgroups::kV2
                    : mounts.v1     ? Cgroups::kV1
                                    : Cgroups::kNone;
  machine.cgroup_errno = ENOENT;
  if (v2) {
    machine.cgroup_errno = TryGroup(mounts.v2, OwnGroup(mounts.v2, ""), "cgroup.freeze");
    if (machine.cgroup_errno == 0) machine.freezer = Machine::Freezer::kV2;
    machine.memory_limits =
        absl::StrContains(FileText(mounts.v2 + "/cgroup.controllers"), "memory");
    machine.cgroup_reclaim =
        machine.memory_limits && ParseVersion(machine.kernel) >= Version{5, 19};
  }
  if (machine.freezer == Machine::Freezer::kSignals && !mounts.v1_freezer.empty()) {
    const int error = TryGroup(mounts.v1_freezer, OwnGroup(mounts.v1_freezer, "freezer"),
                               "freezer.state");
    if (error == 0) machine.freezer = Machine::Freezer::kV1;
    machine.cgroup_errno = error;
  }
  if (!mounts.v1_memory.empty()) machine.memory_limits = true;
}

// ---- memory -----------------------------------------------------------------

// MADV_PAGEOUT on ourselves, by way of a pidfd as an agent does to its host.
bool TryProcessMadvise() {
  const FileDescriptor self(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (!self.valid()) return false;
  const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* page = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return false;
  *static_cast<volatile char*>(page) = 1;
  const iovec part{page, size};
  const bool done = syscall(SYS_process_madvise, self.get(), &part, 1, MADV_PAGEOUT, 0) >= 0;
  munmap(page, size);
  return done;
}

void ExamineMemory(Machine& machine) {
  machine.process_madvise = TryProcessMadvise();
  const std::vector<std::string> lines = absl::StrSplit(FileText("/proc/swaps"), '\n');
  for (size_t i = 1; i < lines.size(); ++i) {  // behind the titles
    const std::vector<std::string> fields =
        absl::StrSplit(lines[i], absl::ByAnyChar(" \t"), absl::SkipEmpty());
    uint64_t kilobytes = 0;
    if (fields.size() < 3 || !absl::SimpleAtoi(fields[2], &kilobytes)) continue;
    machine.swap_bytes += kilobytes << 10;
    if (absl::StrContains(fields[0], "zram")) machine.zram = true;
  }
}

// ---- interception -----------------------------------------------------------

// A filter that lets everything pass, with a descriptor for notifications.
int InstallFilter(unsigned flags) {
  sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  sock_fprog program{1, allow};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -errno;
  const long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                          SECCOMP_FILTER_FLAG_NEW_LISTENER | flags, &program);
  return fd >= 0 ? static_cast<int>(fd) : -errno;
}

void ExamineSeccomp(Machine& machine) {
  machine.seccomp_errno = InChild([] {
    const int fd = InstallFilter(0);
    return fd >= 0 ? 0 : -fd;
  });
  if (machine.seccomp_errno != 0) return;
  machine.seccomp_wait_killable = InChild([] {
                                    const int fd = InstallFilter(kWaitKillable);
                                    return fd >= 0 ? 0 : -fd;
                                  }) == 0;
  machine.seccomp_sync_wake_up = InChild([] {
                                   const int fd = InstallFilter(0);
                                   if (fd < 0) return -fd;
                                   return ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, kSyncWakeUp) == 0
                                              ? 0
                                              : errno;
                                 }) == 0;
}

// A descriptor of a child of ours, as the agent takes its program's.
int TryPidfdGetfd() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return errno;
  const FileDescriptor out(ends[0]);
  FileDescriptor in(ends[1]);
  const pid_t child = fork();
  if (child < 0) return errno;
  if (child == 0) {
    // Lives until we close our end.
    in.Reset();
    char byte;
    [[maybe_unused]] const ssize_t n = read(out.get(), &byte, 1);
    _exit(0);
  }
  int error = 0;
  const FileDescriptor pidfd(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  if (!pidfd.valid()) {
    error = errno;
  } else {
    const FileDescriptor taken(
        static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), out.get(), 0)));
    if (!taken.valid()) error = errno;
  }
  in.Reset();
  waitpid(child, nullptr, 0);
  return error;
}

// ---- checkpoints ------------------------------------------------------------

void ExamineCriu(Machine& machine) {
  // ./setup puts one beside us where the machine's does not work (scripts/criu).
  // sbin is not in every user's PATH.
  std::error_code unknown;
  const std::string own =
      std::filesystem::read_symlink("/proc/self/exe", unknown).parent_path().string();
  constexpr char kCriu[] = "PATH=\"$0:$PATH:/usr/local/sbin:/usr/sbin:/sbin\"; exec criu ";
  const auto run = [&](absl::string_view argument) {
    return RunBounded({"/bin/sh", "-c", absl::StrCat(kCriu, argument), own}, kCriuBound);
  };
  const CommandResult version = run("--version");
  if (version.exit_code != 0) return;
  for (absl::string_view line : absl::StrSplit(version.output, '\n')) {
    if (absl::StartsWith(line, "Version: ")) machine.criu_version = std::string(line.substr(9));
  }
  if (!machine.preflight.root) return;
  const CommandResult check = run("check");
  machine.criu_check = check.exit_code == 0;
  for (absl::string_view line : absl::StrSplit(check.output, '\n', absl::SkipEmpty())) {
    machine.criu_says = std::string(line);
  }
}

}  // namespace

Version ParseVersion(const std::string& text) {
  Version version;
  if (std::sscanf(text.c_str(), "%d.%d", &version.major, &version.minor) < 1) return {};
  return version;
}

Machine ExamineMachine() {
  Machine machine;
  utsname name{};
  if (uname(&name) == 0) machine.kernel = name.release;
  // Before there are threads: children are forked.
  machine.preflight = TryMachine();
  machine.user_namespace_errno =
      InChild([] { return unshare(CLONE_NEWUSER) == 0 ? 0 : errno; });
  const int uso = InChild(TryTunUso);
  if (uso == 0 || uso == ENOTSUP) machine.tun_uso = uso == 0;
  ExamineCgroups(machine);
  ExamineMemory(machine);
  ExamineSeccomp(machine);
  machine.pidfd_getfd_errno = TryPidfdGetfd();
  const std::string yama = FileText("/proc/sys/kernel/yama/ptrace_scope");
  if (!yama.empty() && !absl::SimpleAtoi(yama, &machine.yama)) machine.yama = -1;
  const tunnel::UdpOffload offload = tunnel::UdpOffload::Probe();
  machine.udp_gso = offload.gso;
  machine.udp_gro = offload.gro;
  machine.ipsec_mb = tunnel::IpsecMb::OfThread() != nullptr;
  machine.wireguard = FindWireGuard(machine.kernel);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) machine.descriptors_max = limit.rlim_max;
  ExamineCriu(machine);
  return machine;
}

}  // namespace im::orchestrator::cli
