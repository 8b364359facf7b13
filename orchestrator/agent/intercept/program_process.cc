#include "orchestrator/agent/intercept/program_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace im::agent {
namespace {

constexpr unsigned kPidfdThread = O_EXCL;  // PIDFD_THREAD, Linux 6.9

constexpr uint64_t SignalBit(int signal) { return uint64_t{1} << (signal - 1); }

// Those that end a process which neither handles nor ignores them.
constexpr uint64_t kDeadlySignals =
    ~(SignalBit(SIGCHLD) | SignalBit(SIGCONT) | SignalBit(SIGURG) | SignalBit(SIGWINCH) |
      SignalBit(SIGSTOP) | SignalBit(SIGTSTP) | SignalBit(SIGTTIN) | SignalBit(SIGTTOU));

std::string ReadSmallFile(const std::string& path) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[4096];
  const ssize_t n = file.valid() ? read(file.get(), text, sizeof(text)) : 0;
  return std::string(text, n > 0 ? static_cast<size_t>(n) : 0);
}

std::string ReadStatusFile(pid_t thread) {
  return ReadSmallFile(absl::StrCat("/proc/", thread, "/status"));
}

// The number that stands after "Name:\t".
std::optional<uint64_t> StatusField(absl::string_view text, absl::string_view name, int base) {
  const std::string key = absl::StrCat("\n", name, ":\t");
  const size_t at = text.find(key);
  if (at == absl::string_view::npos) return std::nullopt;
  return std::strtoull(text.data() + at + key.size(), nullptr, base);
}

FileDescriptor OpenPidfd(pid_t thread) {
  FileDescriptor pidfd(static_cast<int>(syscall(SYS_pidfd_open, thread, kPidfdThread)));
  if (pidfd.valid() || errno != EINVAL) return pidfd;
  // An older kernel wants the process. (A thread that has a table of descriptors
  // of its own is then not seen right; that is nearly never done.)
  const auto process = StatusField(ReadStatusFile(thread), "Tgid", 10);
  return FileDescriptor(
      process.has_value() ? static_cast<int>(syscall(SYS_pidfd_open, *process, 0)) : -1);
}

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

}  // namespace

int ReadProgram(pid_t thread, uint64_t address, void* to, size_t size) {
  if (size == 0) return 0;
  const iovec local = {to, size};
  const iovec remote = {reinterpret_cast<void*>(address), size};
  const ssize_t n = process_vm_readv(thread, &local, 1, &remote, 1, 0);
  if (n == static_cast<ssize_t>(size)) return 0;
  return n < 0 && errno != EFAULT ? EPERM : EFAULT;
}

FileDescriptor OpenProgramMemory(pid_t thread) {
  return FileDescriptor(
      open(absl::StrCat("/proc/", thread, "/mem").c_str(), O_WRONLY | O_CLOEXEC));
}

int WriteOpenMemory(const FileDescriptor& memory, uint64_t address, const void* from,
                    size_t size) {
  const ssize_t n = pwrite(memory.get(), from, size, static_cast<off_t>(address));
  return n == static_cast<ssize_t>(size) ? 0 : EFAULT;
}

FileDescriptor TakeProgramFd(pid_t thread, int fd, int& error) {
  const FileDescriptor pidfd = OpenPidfd(thread);
  FileDescriptor taken;
  if (pidfd.valid())
    taken = FileDescriptor(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd.get(), fd, 0)));
  error = taken.valid() ? 0 : errno;
  return taken;
}

bool ClosesOnExec(pid_t thread, int fd) {
  constexpr uint64_t kCloseOnExec = 02000000;  // O_CLOEXEC, as it is shown there
  const std::string text = "\n" + ReadSmallFile(absl::StrCat("/proc/", thread, "/fdinfo/", fd));
  return (StatusField(text, "flags", 8).value_or(0) & kCloseOnExec) != 0;
}

uint64_t SocketInode(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode) ? info.st_ino : 0;
}

absl::flat_hash_set<uint64_t> OpenSocketInodes() {
  absl::flat_hash_set<uint64_t> inodes;
  const Directory processes(opendir("/proc"));
  if (processes == nullptr) return inodes;
  while (const dirent* process = readdir(processes.get())) {
    if (process->d_name[0] < '1' || process->d_name[0] > '9') continue;
    const Directory fds(opendir(absl::StrCat("/proc/", process->d_name, "/fd").c_str()));
    if (fds == nullptr) continue;
    while (const dirent* fd = readdir(fds.get())) {
      char target[64];
      const ssize_t n = readlinkat(dirfd(fds.get()), fd->d_name, target, sizeof(target) - 1);
      if (n <= 0) continue;
      target[n] = 0;
      unsigned long inode;
      if (std::sscanf(target, "socket:[%lu]", &inode) == 1) inodes.insert(inode);
    }
  }
  return inodes;
}

SignalWaiting LookForSignal(pid_t thread) {
  const std::string text = ReadStatusFile(thread);
  const uint64_t blocked = StatusField(text, "SigBlk", 16).value_or(~uint64_t{0});
  const uint64_t caught = StatusField(text, "SigCgt", 16).value_or(0);
  const uint64_t ignored = StatusField(text, "SigIgn", 16).value_or(0);
  const uint64_t handled = (caught | (kDeadlySignals & ~ignored)) & ~blocked;
  if ((StatusField(text, "SigPnd", 16).value_or(0) & handled) != 0) return SignalWaiting::kOfThread;
  if ((StatusField(text, "ShdPnd", 16).value_or(0) & handled) == 0) return SignalWaiting::kNone;
  return StatusField(text, "Threads", 10).value_or(2) == 1 ? SignalWaiting::kOfThread
                                                           : SignalWaiting::kOfProcess;
}

}  // namespace im::agent
