#include "orchestrator/agent/sandbox_init.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "absl/strings/str_cat.h"
#include "orchestrator/agent/cgroup.h"
#include "orchestrator/agent/inside.h"
#include "orchestrator/agent/intercept/socket_filter.h"
#include "orchestrator/agent/process_tree.h"
#include "orchestrator/agent/seq_packet.h"
#include "orchestrator/agent/spawn.h"

namespace im::agent {
namespace {

constexpr int kFirstFreeFd = 3;
// Descriptors are moved above all that can be open before they are put into
// their places.
constexpr int kScratchFd = 200;

// The next process of this PID namespace gets the number after `pid`.
void SetLastPid(uint32_t pid) {
  const FileDescriptor fd(open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC));
  const std::string text = absl::StrCat(pid);
  if (fd.valid()) [[maybe_unused]] const ssize_t n = write(fd.get(), text.data(), text.size());
}

class Init {
 public:
  explicit Init(const InitOptions& options) : options_(options) {}
  [[noreturn]] void Run();

 private:
  void KeepOnlyOurDescriptors();
  void MakeInside();
  // Spawn(), and all that a process needs where there are no namespaces.
  absl::StatusOr<pid_t> SpawnProcess(uint32_t id, SpawnOptions spawn);
  void StartProgram();
  void StartSession(uint32_t id, absl::string_view text, std::vector<FileDescriptor> fds);
  void Signal(uint32_t id, int signal);
  void RunCriu(absl::string_view text, const std::vector<FileDescriptor>& fds);
  void OnCriuEnded(int status);
  void Reap();
  void OnMessages();
  void Tell(const InitMessage& message, absl::string_view text = {}, std::span<const int> fds = {},
            pid_t pid = 0);
  [[noreturn]] void CleanUp();

  InitOptions options_;
  int children_ = -1;               // signalfd of SIGCHLD
  std::map<pid_t, uint32_t> ids_;  // of what runs
  // While CRIU runs.
  pid_t criu_ = 0;
  proto::CriuOrder order_;
  std::optional<int> restored_ended_;  // the program did, and CRIU has not yet
};

void Init::Run() {
  prctl(PR_SET_NAME, "im-init");
  // A program that runs as root could read our memory. The key is not for it.
  std::string& key = *options_.request->mutable_private_key();
  explicit_bzero(key.data(), key.size());
  KeepOnlyOurDescriptors();
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, nullptr);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  children_ = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  if (options_.namespaces) {
    MakeInside();
  } else {
    KeepDescendants();
  }
  if (options_.request->checkpointing().restore()) {
    Tell({InitMessage::Kind::kReady});
  } else {
    StartProgram();
  }
  while (true) {
    pollfd fds[] = {{options_.socket, POLLIN, 0}, {children_, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) _exit(1);
    if (fds[1].revents != 0) Reap();
    if (fds[0].revents != 0) OnMessages();
  }
}

void Init::KeepOnlyOurDescriptors() {
  std::vector<int*> kept = {&options_.socket, &options_.stdio[0], &options_.stdio[1],
                            &options_.stdio[2], &options_.cgroup_fd, &options_.thaw_fd};
  for (int& fd : options_.cgroup_joins) kept.push_back(&fd);
  for (int* fd : kept)
    if (*fd >= 0) *fd = fcntl(*fd, F_DUPFD_CLOEXEC, kScratchFd);
  int next = kFirstFreeFd;
  for (int* fd : kept)
    if (*fd >= 0) *fd = dup3(*fd, next++, O_CLOEXEC);
  syscall(SYS_close_range, next, ~0u, 0);
  const int flags = fcntl(options_.socket, F_GETFL);
  fcntl(options_.socket, F_SETFL, flags | O_NONBLOCK);
}

void Init::MakeInside() {
  if (unshare(CLONE_NEWNET) != 0) {
    Tell({InitMessage::Kind::kSandbox},
         absl::StrCat("make a network namespace: ", std::strerror(errno)));
    _exit(1);
  }
  const std::string& name = options_.request->hostname();
  absl::StatusOr<TunDevice> tun = MakeInsideNetwork(*options_.request);
  if (!tun.ok()) {
    Tell({InitMessage::Kind::kSandbox}, tun.status().message());
    _exit(1);
  }
  const int fds[] = {tun->fd()};
  Tell({InitMessage::Kind::kDescriptor}, {}, fds);
  absl::Status status = sethostname(name.data(), name.size()) == 0
                            ? MakeInsideFiles(*options_.request)
                            : ErrnoStatus("set hostname");
  if (!status.ok()) {
    Tell({InitMessage::Kind::kSandbox}, status.message());
    _exit(1);
  }
  // The agent's is of a mount that does not exist in here, where CRIU looks for it.
  if (options_.stdio[0] >= 0) {
    const FileDescriptor null(open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (null.valid()) dup3(null.get(), options_.stdio[0], O_CLOEXEC);
  }
}

absl::StatusOr<pid_t> Init::SpawnProcess(uint32_t id, SpawnOptions spawn) {
  spawn.cgroup_fd = options_.cgroup_fd;
  spawn.cgroup_joins = options_.cgroup_joins;
  std::optional<SocketFilterHandover> handover;
  FileDescriptor listener;
  if (!options_.namespaces) {
    IM_ASSIGN_OR_RETURN(handover, SocketFilterHandover::Create());
    spawn.in_child = [&handover, init = getpid()] {
      // Ours may be over already.
      if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != init) _exit(1);
      return handover->InstallInChild();
    };
    spawn.in_caller = [&](pid_t pid) {
      absl::StatusOr<FileDescriptor> taken = handover->ReceiveFromChild(pid);
      handover.reset();  // the child does not wait for it any longer
      if (taken.ok()) listener = *std::move(taken);
      // It failed before; it says why.
      return absl::IsFailedPrecondition(taken.status()) ? absl::OkStatus() : taken.status();
    };
  }
  IM_ASSIGN_OR_RETURN(const pid_t pid, Spawn(spawn));
  if (listener.valid()) {
    const int fds[] = {listener.get()};
    Tell({InitMessage::Kind::kDescriptor}, {}, fds);
  }
  ids_[pid] = id;
  if (options_.namespaces) {
    Tell({InitMessage::Kind::kStarted, id}, {}, {}, pid);
  } else {
    Tell({InitMessage::Kind::kStarted, id, pid});
  }
  return pid;
}

void Init::StartProgram() {
  SpawnOptions spawn = OptionsFor(options_.request->program());
  spawn.stdio = options_.stdio;
  spawn.new_session = options_.stdio[1] >= 0;
  const absl::StatusOr<pid_t> pid = SpawnProcess(0, std::move(spawn));
  if (!pid.ok()) {
    Tell({InitMessage::Kind::kNotStarted}, pid.status().message());
    _exit(1);
  }
  // Only the program holds these now: their other ends see when it closes.
  for (int& fd : options_.stdio) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
}

void Init::StartSession(uint32_t id, absl::string_view text, std::vector<FileDescriptor> fds) {
  proto::ExecRequest request;
  if (!request.ParseFromArray(text.data(), static_cast<int>(text.size())) || fds.size() != 3) {
    Tell({InitMessage::Kind::kNotStarted, id}, "malformed request");
    return;
  }
  SpawnOptions spawn = OptionsFor(options_.request->program());
  spawn.argv.assign(request.argv().begin(), request.argv().end());
  for (const auto& [name, value] : request.environment()) spawn.environment[name] = value;
  if (!request.working_dir().empty()) spawn.working_dir = request.working_dir();
  if (!request.inherit_user()) {
    spawn.uid = request.uid();
    spawn.gid = request.gid();
    spawn.groups.clear();
  }
  for (int i = 0; i < 3; ++i) spawn.stdio[i] = fds[i].get();
  const absl::StatusOr<pid_t> pid = SpawnProcess(id, std::move(spawn));
  if (!pid.ok()) Tell({InitMessage::Kind::kNotStarted, id}, pid.status().message());
}

void Init::Signal(uint32_t id, int signal) {
  for (const auto& [pid, of] : ids_) {
    if (of != id) continue;
    // The program alone gets its stop signal; a session's command is the
    // leader of its group, and the signal is the terminal's.
    kill(id == 0 ? pid : -pid, signal);
    return;
  }
}

void Init::RunCriu(absl::string_view text, const std::vector<FileDescriptor>& fds) {
  order_.Clear();
  restored_ended_.reset();
  if (criu_ != 0 || !order_.ParseFromArray(text.data(), static_cast<int>(text.size()))) {
    Tell({InitMessage::Kind::kCriuEnded, 0, 127 << 8}, "malformed order");
    return;
  }
  SpawnOptions spawn;
  spawn.argv.assign(order_.arguments().begin(), order_.arguments().end());
  spawn.environment["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  spawn.set_user = false;
  const FileDescriptor null(open("/dev/null", O_RDWR | O_CLOEXEC));
  spawn.stdio = {null.get(), null.get(), null.get()};
  if (order_.restore()) {
    // What it restores is born where it is; and as the same process numbers, so
    // its own must not be among them.
    spawn.cgroup_fd = options_.cgroup_fd;
    spawn.cgroup_joins = options_.cgroup_joins;
    SetLastPid(order_.first_pid());
  }
  spawn.in_child = [&]() -> absl::Status {
    // In the program's own it would take System V memory for the machine's.
    if (unshare(CLONE_NEWIPC) != 0) return ErrnoStatus("make an IPC namespace");
    // One may be where another is to be.
    std::vector<int> away;
    for (const FileDescriptor& fd : fds)
      away.push_back(fcntl(fd.get(), F_DUPFD_CLOEXEC, kScratchFd));
    for (size_t i = 0; i < away.size(); ++i)
      if (dup2(away[i], kCriuFirstFd + static_cast<int>(i)) < 0) return ErrnoStatus("dup2");
    if (setresgid(order_.real_gid(), 0, 0) != 0 || setresuid(order_.real_uid(), 0, 0) != 0)
      return ErrnoStatus("set the real user");
    return absl::OkStatus();
  };
  const absl::StatusOr<pid_t> pid = Spawn(spawn);
  if (!pid.ok()) {
    Tell({InitMessage::Kind::kCriuEnded, 0, 127 << 8}, pid.status().message());
    return;
  }
  criu_ = *pid;
}

void Init::OnCriuEnded(int status) {
  criu_ = 0;
  if (!order_.restore() || status != 0) {
    Tell({InitMessage::Kind::kCriuEnded, 0, status});
    return;
  }
  SetLastPid(order_.last_pid());
  const pid_t program = static_cast<pid_t>(order_.root_pid());
  ids_[program] = 0;
  Tell({InitMessage::Kind::kStarted}, {}, {}, program);
  if (!restored_ended_) return;
  ids_.erase(program);
  Tell({InitMessage::Kind::kEnded, 0, *restored_ended_});
}

void Init::Reap() {
  signalfd_siginfo info;
  while (read(children_, &info, sizeof(info)) > 0) {
  }
  int status = 0;
  pid_t pid = 0;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid == criu_) {
      OnCriuEnded(status);
      continue;
    }
    if (criu_ != 0 && order_.restore() && pid == static_cast<pid_t>(order_.root_pid()))
      restored_ended_ = status;
    auto found = ids_.find(pid);
    if (found == ids_.end()) continue;  // an orphan of the host
    Tell({InitMessage::Kind::kEnded, found->second, status});
    ids_.erase(found);
  }
}

void Init::OnMessages() {
  while (true) {
    absl::StatusOr<std::optional<SeqPacket>> packet = ReceiveSeqPacket(options_.socket);
    if (!packet.ok()) CleanUp();  // the agent has ended
    if (!packet->has_value()) return;
    absl::string_view text;
    const std::optional<InitMessage> message = InitMessage::Decode((*packet)->bytes, text);
    if (!message) continue;
    if (message->kind == InitMessage::Kind::kRun)
      StartSession(message->id, text, std::move((*packet)->fds));
    if (message->kind == InitMessage::Kind::kSignal) Signal(message->id, message->value);
    if (message->kind == InitMessage::Kind::kCriu) RunCriu(text, (*packet)->fds);
  }
}

void Init::Tell(const InitMessage& message, absl::string_view text, std::span<const int> fds,
                pid_t pid) {
  // The agent reads as fast as it can, and what we say is little: a full
  // socket means that it hangs or has ended.
  for (int i = 0; i < 100; ++i) {
    const absl::Status status = SendSeqPacket(options_.socket, message.Encode(text), fds, pid);
    if (!absl::IsUnavailable(status) && !absl::IsResourceExhausted(status)) return;
    pollfd writable = {options_.socket, POLLOUT, 0};
    poll(&writable, 1, 100);
  }
}

void Init::CleanUp() {
  if (options_.namespaces) kill(-1, SIGKILL);
  // Frozen processes of version 1 end when they are thawed.
  if (options_.thaw_fd >= 0) {
    [[maybe_unused]] const ssize_t n = pwrite(options_.thaw_fd, "THAWED", 6, 0);
  }
  if (!options_.namespaces) KillDescendants();
  while (waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
  }
  for (const std::string& directory : options_.cgroup_directories)
    Cgroup::RemoveDirectory(directory);
  _exit(0);
}

}  // namespace

std::string InitMessage::Encode(absl::string_view text) const {
  std::string bytes(reinterpret_cast<const char*>(this), sizeof(*this));
  absl::StrAppend(&bytes, text);
  return bytes;
}

std::optional<InitMessage> InitMessage::Decode(absl::string_view bytes, absl::string_view& text) {
  InitMessage message;
  if (bytes.size() < sizeof(message)) return std::nullopt;
  std::memcpy(&message, bytes.data(), sizeof(message));
  text = bytes.substr(sizeof(message));
  return message;
}

void RunInit(const InitOptions& options) { Init(options).Run(); }

}  // namespace im::agent
