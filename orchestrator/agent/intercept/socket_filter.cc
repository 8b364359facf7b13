#include "orchestrator/agent/intercept/socket_filter.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "orchestrator/agent/intercept/program_process.h"

namespace im::agent {
namespace {

// Linux 6.6; not in older headers.
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
constexpr uint64_t kSyncWakeUp = 1;  // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
// Linux 5.19; not in older headers.
constexpr unsigned kWaitKillable = 1u << 5;  // SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
constexpr unsigned kNewListener = 1u << 3;   // SECCOMP_FILTER_FLAG_NEW_LISTENER

class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_ALLOW)) {}
  ~Filter() {
    if (context_ != nullptr) seccomp_release(context_);
  }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  scmp_filter_ctx context() { return context_; }
  // 0, or the first error of all that was added.
  int error() const { return context_ == nullptr ? -ENOMEM : error_; }
  void Note(int error) {
    if (error != 0 && error_ == 0) error_ = error;
  }
  void Add(uint32_t action, int call) { Note(seccomp_rule_add(context_, action, call, 0)); }
  void AddIf(uint32_t action, int call, const scmp_arg_cmp& a) {
    Note(seccomp_rule_add(context_, action, call, 1, a));
  }
  void AddIf(uint32_t action, int call, const scmp_arg_cmp& a, const scmp_arg_cmp& b) {
    Note(seccomp_rule_add(context_, action, call, 2, a, b));
  }

 private:
  scmp_filter_ctx context_;
  int error_ = 0;
};

// The kernel takes the family as an int: of the register only its lower half.
constexpr uint64_t kInt = 0xffffffff;

void AddFamilies(Filter& filter) {
  const int call = SCMP_SYS(socket);
  const auto family_is = [](int family) {
    return SCMP_A0(SCMP_CMP_MASKED_EQ, kInt, static_cast<scmp_datum_t>(family));
  };
  filter.AddIf(SCMP_ACT_NOTIFY, call, family_is(AF_INET));
  filter.AddIf(SCMP_ACT_NOTIFY, call, family_is(AF_INET6));
  filter.AddIf(SCMP_ACT_ERRNO(EPERM), call, family_is(AF_PACKET));
  // All others by exclusion, one by one: there are 46 of them, and the kernel
  // refuses numbers that are no family.
  constexpr int kFamilies = 64;
  for (int family = 0; family < kFamilies; ++family) {
    switch (family) {
      case AF_UNIX:
      case AF_NETLINK:
      case AF_ALG:
        continue;
      case AF_INET:
      case AF_INET6:
      case AF_PACKET:
        break;
      default:
        filter.AddIf(SCMP_ACT_ERRNO(EAFNOSUPPORT), call, family_is(family));
    }
    filter.AddIf(SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socketpair), family_is(family));
  }
}

int Build(Filter& filter) {
  if (filter.error() != 0) return filter.error();
  for (const int call :
       {SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4),
        SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(setsockopt), SCMP_SYS(getsockopt),
        SCMP_SYS(shutdown), SCMP_SYS(sendmsg), SCMP_SYS(recvmsg), SCMP_SYS(sendmmsg),
        SCMP_SYS(recvmmsg)})
    filter.Add(SCMP_ACT_NOTIFY, call);
  for (const int call : {SCMP_SYS(sendto), SCMP_SYS(recvfrom)})
    filter.AddIf(SCMP_ACT_NOTIFY, call, SCMP_A4(SCMP_CMP_NE, 0));
  for (const int call :
       {SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register)})
    filter.Add(SCMP_ACT_ERRNO(ENOSYS), call);
  filter.Add(SCMP_ACT_ERRNO(EPERM), SCMP_SYS(pidfd_getfd));
  AddFamilies(filter);
  filter.Note(seccomp_attr_set(filter.context(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS)));
  // A tree of comparisons: a call that is not ours passes in a few of them.
  seccomp_attr_set(filter.context(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  return filter.error();
}

// The filter as the kernel wants it. libseccomp would load it by itself, but
// knows nothing of kWaitKillable.
absl::StatusOr<std::vector<uint8_t>> Export(Filter& filter) {
  const FileDescriptor file(memfd_create("filter", MFD_CLOEXEC));
  if (!file.valid()) return ErrnoStatus("memfd_create");
  if (const int error = seccomp_export_bpf(filter.context(), file.get()); error != 0)
    return ErrnoStatus("seccomp_export_bpf", -error);
  std::vector<uint8_t> bytes(static_cast<size_t>(lseek(file.get(), 0, SEEK_END)));
  if (pread(file.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return ErrnoStatus("read the filter");
  return bytes;
}

absl::StatusOr<int> Install() {
  Filter filter;
  if (const int error = Build(filter); error != 0)
    return ErrnoStatus("make a seccomp filter", -error);
  IM_ASSIGN_OR_RETURN(std::vector<uint8_t> code, Export(filter));
  struct {
    unsigned short length;
    void* code;
  } program = {static_cast<unsigned short>(code.size() / 8), code.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return ErrnoStatus("set no_new_privs");
  // Without kWaitKillable a signal makes a call be told twice; better than not
  // at all (Linux before 5.19).
  for (const unsigned flags : {kNewListener | kWaitKillable, kNewListener}) {
    const long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (fd >= 0) return static_cast<int>(fd);
    if (errno != EINVAL) break;
  }
  return ErrnoStatus("install a seccomp filter with a listener");
}

absl::Status MakePipe(FileDescriptor& read_end, FileDescriptor& write_end) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoStatus("pipe");
  read_end = FileDescriptor(fds[0]);
  write_end = FileDescriptor(fds[1]);
  return absl::OkStatus();
}

ssize_t ReadAgain(int fd, void* to, size_t size) {
  ssize_t n;
  do {
    n = read(fd, to, size);
  } while (n < 0 && errno == EINTR);
  return n;
}

}  // namespace

absl::StatusOr<SocketFilterHandover> SocketFilterHandover::Create() {
  SocketFilterHandover handover;
  IM_RETURN_IF_ERROR(MakePipe(handover.from_child_, handover.to_parent_));
  IM_RETURN_IF_ERROR(MakePipe(handover.from_parent_, handover.to_child_));
  return handover;
}

absl::Status SocketFilterHandover::InstallInChild() {
  from_child_.Reset();
  to_child_.Reset();
  IM_ASSIGN_OR_RETURN(const int listener, Install());
  // From here on a call that is told waits for the parent.
  if (write(to_parent_.get(), &listener, sizeof(listener)) != sizeof(listener))
    return ErrnoStatus("hand over the filter's listener");
  char done = 0;
  if (ReadAgain(from_parent_.get(), &done, 1) != 1)
    return absl::FailedPreconditionError("the agent could not take the filter's listener");
  close(listener);
  return absl::OkStatus();
}

absl::StatusOr<FileDescriptor> SocketFilterHandover::ReceiveFromChild(pid_t child) {
  to_parent_.Reset();
  from_parent_.Reset();
  int number = -1;
  if (ReadAgain(from_child_.get(), &number, sizeof(number)) != sizeof(number))
    return absl::FailedPreconditionError("no filter was installed");
  int error = 0;
  FileDescriptor listener = TakeProgramFd(child, number, error);
  if (!listener.valid())
    return ErrnoStatus("take the filter's listener (is kernel.yama.ptrace_scope above 1?)", error);
  uint64_t flags = kSyncWakeUp;
  ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags);  // faster where there is it
  if (write(to_child_.get(), "", 1) != 1) return ErrnoStatus("answer the program");
  return listener;
}

}  // namespace im::agent
