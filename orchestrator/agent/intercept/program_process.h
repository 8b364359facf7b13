// The program's memory and descriptors, reached from outside.
//
// All of it needs the right to trace the program: the same user, and the
// program not set undumpable (PR_SET_DUMPABLE). `thread` is one that waits in a
// call that was told to us; whoever reads must afterwards ask whether it still
// does (PendingCall::Alive), or the answer may be of another process that got
// the same number.
//
// Errors are errnos, since most become the program's own.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_PROGRAM_PROCESS_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_PROGRAM_PROCESS_H_

#include <sys/types.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_set.h"
#include "base/file_descriptor.h"

namespace im::agent {

// 0, or EFAULT and the like: all or nothing.
int ReadProgram(pid_t thread, uint64_t address, void* to, size_t size);
// `still_there` is asked after the memory was opened and before it is written
// to, so that nobody else's is.
template <typename F>
int WriteProgram(pid_t thread, uint64_t address, const void* from, size_t size, F still_there);

// Another descriptor of the same open file. Invalid: `error` says why; EBADF
// is the program's mistake, all else our lack of rights.
FileDescriptor TakeProgramFd(pid_t thread, int fd, int& error);

// FD_CLOEXEC of one.
bool ClosesOnExec(pid_t thread, int fd);

// The inode of a socket, which names it as long as it lives; 0: not a socket.
uint64_t SocketInode(int fd);

// All sockets that processes which we may look at have open.
absl::flat_hash_set<uint64_t> OpenSocketInodes();

// Whether a signal waits that `thread` does not block, and that would be handled or end it. (The
// kernel ends a waiting thread by itself, but not one that was stopped while it waited.)
enum class SignalWaiting { kNone, kOfThread, kOfProcess };
SignalWaiting LookForSignal(pid_t thread);

// ---- implementation ----

FileDescriptor OpenProgramMemory(pid_t thread);
int WriteOpenMemory(const FileDescriptor& memory, uint64_t address, const void* from, size_t size);

template <typename F>
int WriteProgram(pid_t thread, uint64_t address, const void* from, size_t size, F still_there) {
  if (size == 0) return 0;
  const FileDescriptor memory = OpenProgramMemory(thread);
  if (!memory.valid() || !still_there()) return EFAULT;
  return WriteOpenMemory(memory, address, from, size);
}

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_PROGRAM_PROCESS_H_
