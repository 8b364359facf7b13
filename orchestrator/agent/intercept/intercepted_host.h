// For the tests of this folder: a host where nothing is permitted. A process
// that has become nobody, without a capability and with no_new_privs, owns a
// stack with 10.0.0.2 and a SocketBroker, and runs a program under its filter.
// The test has a stack of its own, 10.0.0.1, on the other side of the link.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_INTERCEPTED_HOST_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_INTERCEPTED_HOST_H_

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "netstack/test_support.h"
#include "orchestrator/agent/intercept/socket_broker.h"
#include "orchestrator/agent/intercept/socket_filter.h"

namespace im::agent {

inline const IpAddress kPeerAddress = *IpAddress::Parse("10.0.0.1");
inline const IpAddress kHostAddress = *IpAddress::Parse("10.0.0.2");

// What the host's process says when something of ours is wrong.
inline constexpr int kHostFailed = 98;

inline int FailHost(const absl::Status& status) {
  std::fprintf(stderr, "host: %s\n", status.ToString().c_str());
  return kHostFailed;
}

inline void BecomeNobody() {
  constexpr uid_t kNobody = 65534;
  if (geteuid() == 0 && (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 ||
                         setuid(kNobody) != 0))
    _exit(FailHost(ErrnoStatus("become nobody")));
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);  // which setuid took away; ours to be debugged
}

inline int CountFds() {
  int n = 0;
  DIR* directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) ++n;
  closedir(directory);
  return n;
}

// `file`: of argv[0], which may lie where nobody cannot walk to.
[[noreturn]] inline void RunProgram(SocketFilterHandover& handover, int file,
                                    const std::vector<std::string>& argv) {
  for (int fd = 3; fd < 1024; ++fd) fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (absl::Status status = handover.InstallInChild(); !status.ok()) _exit(FailHost(status));
  std::vector<char*> arguments;
  for (const std::string& a : argv) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);
  fexecve(file, arguments.data(), environ);
  _exit(FailHost(ErrnoStatus(argv[0])));
}

// The host's life: until all processes of the program are gone. Gives the
// program's exit code, or kHostFailed if a descriptor of ours was left over.
inline int RunHost(FileDescriptor link_fd, const std::vector<std::string>& argv) {
  const FileDescriptor file(open(argv[0].c_str(), O_RDONLY | O_CLOEXEC));
  BecomeNobody();
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  netstack::LinkedStack host(std::move(link_fd), {.address = kHostAddress, .prefix_length = 24});
  // The peer's echo stands for a resolver.
  SocketBroker broker(*host.loop, host.stack,
                      {.address4 = kHostAddress,
                       .resolver = Endpoint{kPeerAddress, 7},
                       .network = IpPrefix(kHostAddress, 24)});
  auto handover = SocketFilterHandover::Create();
  if (!handover.ok()) return FailHost(handover.status());
  const pid_t program = fork();
  if (program == 0) RunProgram(*handover, file.get(), argv);
  {
    SocketFilterHandover used = *std::move(handover);
    auto listener = used.ReceiveFromChild(program);
    if (!listener.ok()) return FailHost(listener.status());
    broker.AddProgram(*std::move(listener));
  }
  const int fds_before = CountFds();
  int result = -1;
  const auto ended = [&] {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
      if (pid == program) result = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
    return result >= 0 && broker.program_count() == 0;
  };
  if (!netstack::RunUntil(*host.loop, ended, std::chrono::milliseconds(20)))
    return FailHost(absl::DeadlineExceededError("the program did not end"));
  // The filter's listener is one that was there before.
  if (!netstack::RunUntil(*host.loop, [&] { return CountFds() < fds_before; }))
    return FailHost(absl::InternalError(absl::StrCat(CountFds(), " descriptors, were ",
                                                     fds_before)));
  return result;
}

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_INTERCEPTED_HOST_H_
