#include "orchestrator/agent/task_wait.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace im::agent {
namespace {

// Newer than some C libraries' headers.
constexpr int64_t kIoPgetevents = 333;
constexpr int64_t kFutexWaitv = 449;
constexpr int64_t kFutexWait = 455;
constexpr int64_t kEpollPwait2 = 441;
constexpr int64_t kIoUringEnter = 426;
constexpr uint64_t kIoUringExtArg = 8;   // IORING_ENTER_EXT_ARG
constexpr uint64_t kIoUringTime = 16;    // io_uring_getevents_arg.ts
constexpr int kFutexLockPi2 = 13;
// Longer waits are as good as endless; and sums must not overflow.
constexpr int64_t kSecondsMax = 10LL * 365 * 86'400;

// What is at `address`, in words of `unit_ns`; nullopt: nothing that is a time,
// or one that does not come.
std::optional<Duration> TimeAt(uint64_t address, int64_t unit_ns, ReadMemory read) {
  TaskTime time;
  if (address == 0 || !read(address, &time, sizeof(time))) return std::nullopt;
  return time.Length(unit_ns);
}

TaskWait Relative(std::optional<Duration> length) {
  if (!length) return {};
  return {.kind = TaskWait::Kind::kRelative, .length = *length};
}

TaskWait Milliseconds(uint64_t argument) {
  const auto ms = static_cast<int32_t>(argument);
  if (ms < 0) return {};
  return Relative(std::chrono::milliseconds(ms));
}

TaskWait WithRest(uint64_t address, int64_t unit_ns, ReadMemory read) {
  TaskWait wait = Relative(TimeAt(address, unit_ns, read));
  if (wait.kind == TaskWait::Kind::kEndless) return wait;
  wait.rest = address;
  wait.rest_unit_ns = unit_ns;
  return wait;
}

TaskWait Absolute(uint64_t address, int64_t clock, const ClockTimes& now, ReadMemory read) {
  // A point in time may be large: seconds since 1970.
  TaskTime time;
  if (address == 0 || !read(address, &time, sizeof(time))) return {};
  Duration clock_now{0};
  switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_TAI:
      clock_now = now.realtime;
      break;
    case CLOCK_MONOTONIC:
      clock_now = now.monotonic;
      break;
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
      clock_now = now.boottime;
      break;
    default:
      return {};  // of CPU time
  }
  const int64_t now_seconds = clock_now.count() / kNanosPerSecond;
  if (time.seconds < 0 || time.seconds > now_seconds + kSecondsMax || time.fraction < 0 ||
      time.fraction >= kNanosPerSecond)
    return {};
  return {.kind = TaskWait::Kind::kAbsolute,
          .length = Duration(time.seconds * kNanosPerSecond + time.fraction) - clock_now};
}

TaskWait FutexWait(const TaskCall& call, const ClockTimes& now, ReadMemory read) {
  const auto& [address, operation, value, timeout, address2, value3] = call.arguments;
  const int64_t clock = (operation & FUTEX_CLOCK_REALTIME) != 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
  switch (static_cast<int>(operation) & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
      return Relative(TimeAt(timeout, 1, read));
    case FUTEX_WAIT_BITSET:
    case FUTEX_WAIT_REQUEUE_PI:
    case kFutexLockPi2:
      return Absolute(timeout, clock, now, read);
    case FUTEX_LOCK_PI:
      return Absolute(timeout, CLOCK_REALTIME, now, read);
    default:
      return {};
  }
}

}  // namespace

TaskTime TaskTime::Of(Duration length, int64_t unit_ns) {
  return {length.count() / kNanosPerSecond, length.count() % kNanosPerSecond / unit_ns};
}

std::optional<Duration> TaskTime::Length(int64_t unit_ns) const {
  if (seconds < 0 || seconds > kSecondsMax || fraction < 0 ||
      fraction >= kNanosPerSecond / unit_ns)
    return std::nullopt;
  return Duration(seconds * kNanosPerSecond + fraction * unit_ns);
}

std::optional<TaskCall> ParseTaskCall(absl::string_view text) {
  const std::vector<absl::string_view> words =
      absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty());
  TaskCall call;
  if (words.size() < 1 + call.arguments.size()) return std::nullopt;
  if (!absl::SimpleAtoi(words[0], &call.number) || call.number < 0) return std::nullopt;
  for (size_t i = 0; i < call.arguments.size(); ++i)
    if (!absl::SimpleHexAtoi(words[i + 1], &call.arguments[i])) return std::nullopt;
  return call;
}

ClockTimes ClockTimes::Read() {
  const auto read = [](clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return Duration(time.tv_sec * kNanosPerSecond + time.tv_nsec);
  };
  return {read(CLOCK_MONOTONIC), read(CLOCK_REALTIME), read(CLOCK_BOOTTIME)};
}

TaskWait WaitOf(const TaskCall& call, const ClockTimes& now, ReadMemory read) {
  const std::array<uint64_t, 6>& argument = call.arguments;
  switch (call.number) {
    case SYS_restart_syscall:
      return {.kind = TaskWait::Kind::kContinued};
    case SYS_nanosleep:
      return Relative(TimeAt(argument[0], 1, read));
    case SYS_clock_nanosleep: {
      if ((argument[1] & TIMER_ABSTIME) != 0)
        return Absolute(argument[2], static_cast<int32_t>(argument[0]), now, read);
      const auto clock = static_cast<int32_t>(argument[0]);
      return clock == CLOCK_PROCESS_CPUTIME_ID || clock < 0 ? TaskWait()
                                                           : Relative(TimeAt(argument[2], 1, read));
    }
    case SYS_poll:
      return Milliseconds(argument[2]);
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
      return Milliseconds(argument[3]);
    case kEpollPwait2:
      return Relative(TimeAt(argument[3], 1, read));
    case SYS_select:
      return WithRest(argument[4], 1000, read);
    case SYS_pselect6:
      return WithRest(argument[4], 1, read);
    case SYS_ppoll:
      return WithRest(argument[2], 1, read);
    case SYS_futex:
      return FutexWait(call, now, read);
    case kFutexWaitv:
      return Absolute(argument[3], static_cast<int32_t>(argument[4]), now, read);
    case kFutexWait:
      return Absolute(argument[4], static_cast<int32_t>(argument[5]), now, read);
    case SYS_mq_timedreceive:
    case SYS_mq_timedsend:
      return Absolute(argument[4], CLOCK_REALTIME, now, read);
    case SYS_semtimedop:
      return Relative(TimeAt(argument[3], 1, read));
    case SYS_rt_sigtimedwait:
      return Relative(TimeAt(argument[2], 1, read));
    case SYS_io_getevents:
      return Relative(TimeAt(argument[4], 1, read));
    case kIoPgetevents:
      return Relative(TimeAt(argument[4], 1, read));
    case kIoUringEnter: {
      uint64_t time = 0;
      if ((argument[3] & kIoUringExtArg) == 0 || argument[4] == 0 ||
          !read(argument[4] + kIoUringTime, &time, sizeof(time)))
        return {};
      return Relative(TimeAt(time, 1, read));
    }
    default:
      return {};
  }
}

}  // namespace im::agent
