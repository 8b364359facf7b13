// TaskWait: when the system call that a task sleeps in will time out, read from
// outside.
//
// /proc/PID/task/TID/syscall names the call and its arguments; times are in the
// task's memory. What they tell:
//
//   kAbsolute   a point on a clock: the deadline itself
//   kRelative   a length; it counts from the call's begin, which is not told
//   kContinued  restart_syscall(2): an earlier call goes on after the task was
//               stopped or frozen, with the deadline that it had
//   kEndless    no timeout, or no call that has one
//
// select, pselect6 and ppoll keep no deadline while they are interrupted: they
// leave what is left in the caller's memory and take it from there when they go
// on, so that the time in between does not count. `rest` is where
// (frozen_rests.h sets it right).
//
// Not seen: timeouts of sockets (SO_RCVTIMEO), io_uring's own timers, calls of
// 32-bit programs. x86-64 alone.

#ifndef IM_ORCHESTRATOR_AGENT_TASK_WAIT_H_
#define IM_ORCHESTRATOR_AGENT_TASK_WAIT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"

namespace im::agent {

struct TaskCall {
  int64_t number = -1;
  std::array<uint64_t, 6> arguments{};

  friend bool operator==(const TaskCall&, const TaskCall&) = default;
};
// The text of /proc/PID/task/TID/syscall; nullopt for a task that runs, or is in
// no call.
std::optional<TaskCall> ParseTaskCall(absl::string_view text);

// What the clocks show now.
struct ClockTimes {
  Duration monotonic{0};
  Duration realtime{0};
  Duration boottime{0};
  static ClockTimes Read();
};

// A timespec or timeval as a task has it in memory. `unit_ns` is that of its second
// word: 1 or 1000.
struct TaskTime {
  int64_t seconds = 0;
  int64_t fraction = 0;

  // Preconditions: not negative.
  static TaskTime Of(Duration length, int64_t unit_ns);
  // nullopt: no valid time, or one that is as good as endless (10 years).
  std::optional<Duration> Length(int64_t unit_ns) const;
};

struct TaskWait {
  enum class Kind : uint8_t { kEndless, kRelative, kAbsolute, kContinued };
  Kind kind = Kind::kEndless;
  Duration length{0};   // kRelative: the whole; kAbsolute: from now on, negative if past
  uint64_t rest = 0;    // the address of what is left; 0: the kernel keeps the deadline
  int64_t rest_unit_ns = 1;  // of its second word: 1000 in a timeval
};

// Copies `size` bytes at `address` of the task's memory; false if it cannot.
using ReadMemory = absl::FunctionRef<bool(uint64_t address, void* out, size_t size)>;

TaskWait WaitOf(const TaskCall& call, const ClockTimes& now, ReadMemory read);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_TASK_WAIT_H_
