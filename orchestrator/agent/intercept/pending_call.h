// PendingCall: one call of the program that waits for our answer.
//
// It is answered exactly once, at the time or much later (a blocking accept).
// One that is dropped fails with ECONNABORTED, so that no thread of the program
// ever hangs because somebody forgot it.

#ifndef IM_ORCHESTRATOR_AGENT_INTERCEPT_PENDING_CALL_H_
#define IM_ORCHESTRATOR_AGENT_INTERCEPT_PENDING_CALL_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/file_descriptor.h"

namespace im::agent {

class PendingCall {
 public:
  // Takes one from the listener of a filter; nullopt: none waits (any more).
  static std::optional<PendingCall> Receive(const std::shared_ptr<FileDescriptor>& listener);

  PendingCall(PendingCall&& other) noexcept = default;
  PendingCall& operator=(PendingCall&& other) noexcept;
  ~PendingCall();

  pid_t thread() const { return thread_; }
  int number() const { return number_; }
  uint64_t arg(int i) const { return args_[static_cast<size_t>(i)]; }
  int int_arg(int i) const { return static_cast<int>(arg(i)); }

  // The caller still waits for it.
  bool Alive() const;

  // Memory of the caller: 0 or an errno.
  int Read(uint64_t address, void* to, size_t size) const;
  int Write(uint64_t address, const void* from, size_t size) const;
  // The open file behind a descriptor of the caller.
  FileDescriptor TakeFd(int fd, int& error) const;

  // The answers; false: the caller is gone.
  bool Return(int64_t value);
  bool Fail(int error);
  // The kernel does it. Only where nothing that a pointer points to could make
  // a difference to us.
  bool Continue();
  // The call returns a new descriptor for what `fd` is open on. False also if
  // the program can have no more, which it is told.
  bool ReturnFd(int fd, bool close_on_exec);
  // The caller's descriptor `number` is open on what `fd` is from now on. The
  // call still waits.
  bool ReplaceFd(int fd, int number, bool close_on_exec) const;

 private:
  PendingCall() = default;
  bool Send(int64_t value, int error, uint32_t flags);

  std::shared_ptr<FileDescriptor> listener_;  // nullptr once answered
  uint64_t id_ = 0;
  pid_t thread_ = 0;
  int number_ = 0;
  std::array<uint64_t, 6> args_{};
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_INTERCEPT_PENDING_CALL_H_
