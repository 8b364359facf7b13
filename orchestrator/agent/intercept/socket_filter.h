// The seccomp filter that a program of `attach: netstack` runs under.
//
// Which calls are told to the agent is decided by the numbers in registers
// alone, so that no thread of the program can change what was looked at:
//
//   socket(AF_INET, AF_INET6)            told: no such socket ever becomes the
//                                        kernel's, whatever else is in the call
//   socket(AF_UNIX, AF_NETLINK, AF_ALG)  the kernel's, as ever
//   socket(AF_PACKET)                    EPERM
//   socket, socketpair of other families EAFNOSUPPORT: several of them (SMC,
//                                        RDS, VSOCK …) reach the network
//   connect bind listen accept accept4 getsockname getpeername setsockopt
//   getsockopt shutdown, sendmsg recvmsg sendmmsg recvmmsg, and sendto and
//   recvfrom with an address             told: of what descriptor is not known
//                                        to a filter
//   io_uring_*, pidfd_getfd              ENOSYS, EPERM: they would go round us
//   calls of another ABI (x32, i386)     ENOSYS
//   all others                           the kernel's: read, write, send, recv,
//                                        epoll, poll, dup, fork, exec, close …
//
// The filter is inherited by fork and exec and cannot be taken off. It needs
// no_new_privs, which it sets, and no privilege.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_SOCKET_FILTER_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_SOCKET_FILTER_H_

#include <sys/types.h>

#include "absl/status/statusor.h"
#include "base/file_descriptor.h"

namespace im::agent {

// How a child that is about to exec gets its filter, and its parent the
// listener of it. Made before the fork:
//
//   child    InstallInChild(): filter on; tells the number of its listener by
//            a pipe, and waits until the parent has it
//   parent   ReceiveFromChild(pid): takes the listener by pidfd_getfd(2), which
//            also shows that descriptors of the program can be reached later
class SocketFilterHandover {
 public:
  static absl::StatusOr<SocketFilterHandover> Create();

  // In the child. Allocates; the child must be single-threaded.
  absl::Status InstallInChild();
  // In the parent. FailedPrecondition: the child could not, and says why.
  absl::StatusOr<FileDescriptor> ReceiveFromChild(pid_t child);

 private:
  FileDescriptor to_parent_, from_child_;
  FileDescriptor to_child_, from_parent_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_SOCKET_FILTER_H_
