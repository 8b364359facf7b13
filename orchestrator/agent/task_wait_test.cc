#include "orchestrator/agent/task_wait.h"

#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include <cstring>
#include <map>
#include <string>

namespace im::agent {
namespace {

using Kind = TaskWait::Kind;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kAt = 0x7000;

class TaskWaitTest : public testing::Test {
 protected:
  void Put(uint64_t address, int64_t first, int64_t second) { memory_[address] = {first, second}; }
  TaskWait Wait(int64_t number, std::array<uint64_t, 6> arguments) {
    return WaitOf({number, arguments}, now_, [this](uint64_t address, void* out, size_t size) {
      const auto it = memory_.find(address);
      if (it == memory_.end() || size > sizeof(it->second)) return false;
      std::memcpy(out, &it->second, size);
      return true;
    });
  }
  void ExpectRelative(Duration length, int64_t number, std::array<uint64_t, 6> arguments) {
    const TaskWait wait = Wait(number, arguments);
    EXPECT_EQ(wait.kind, Kind::kRelative) << number;
    EXPECT_EQ(wait.length, length) << number;
  }
  void ExpectAbsolute(Duration left, int64_t number, std::array<uint64_t, 6> arguments) {
    const TaskWait wait = Wait(number, arguments);
    EXPECT_EQ(wait.kind, Kind::kAbsolute) << number;
    EXPECT_EQ(wait.length, left) << number;
  }

  const ClockTimes now_{.monotonic = seconds(100), .realtime = seconds(1'700'000'000),
                        .boottime = seconds(200)};
  std::map<uint64_t, std::array<int64_t, 2>> memory_;
};

TEST_F(TaskWaitTest, ReadsACall) {
  const auto call = ParseTaskCall(
      "230 0x0 0x1 0x7ffc9e3fc180 0x0 0xffffffffffffffff 0x7fa7 0x7ffc9e3fc148 0x7fa71ec29503\n");
  ASSERT_TRUE(call.has_value());
  EXPECT_EQ(call->number, 230);
  EXPECT_EQ(call->arguments[2], 0x7ffc9e3fc180u);
  EXPECT_EQ(call->arguments[4], UINT64_MAX);
}

TEST_F(TaskWaitTest, OtherTextsAreNoCall) {
  for (const char* text : {"", "running\n", "-1 0x7ffc9e3fc148 0x7fa71ec29503\n", "7 0x0 0x0\n",
                           "7 0x0 0x0 0x1 zz 0x0 0x0 0x1 0x2", "x 0x0 0x0 0x1 0x0 0x0 0x0 0x1"})
    EXPECT_FALSE(ParseTaskCall(text).has_value()) << text;
}

TEST_F(TaskWaitTest, LengthsInMilliseconds) {
  ExpectRelative(seconds(20), SYS_poll, {0, 0, 20'000});
  ExpectRelative(milliseconds(500), SYS_epoll_wait, {3, kAt, 1, 500});
  ExpectRelative(milliseconds(500), SYS_epoll_pwait, {3, kAt, 1, 500, 0, 8});
  EXPECT_EQ(Wait(SYS_poll, {0, 0, 0xffffffff}).kind, Kind::kEndless);
  EXPECT_EQ(Wait(SYS_epoll_wait, {3, kAt, 1, UINT64_MAX}).kind, Kind::kEndless);
}

TEST_F(TaskWaitTest, LengthsInMemory) {
  Put(kAt, 60, 500'000'000);
  const Duration length = milliseconds(60'500);
  ExpectRelative(length, SYS_nanosleep, {kAt});
  ExpectRelative(length, SYS_clock_nanosleep, {CLOCK_MONOTONIC, 0, kAt});
  ExpectRelative(length, 441 /* epoll_pwait2 */, {3, 0, 1, kAt});
  ExpectRelative(length, SYS_futex, {1, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, kAt});
  ExpectRelative(length, SYS_semtimedop, {1, 2, 1, kAt});
  ExpectRelative(length, SYS_rt_sigtimedwait, {1, 0, kAt, 8});
  ExpectRelative(length, SYS_io_getevents, {1, 1, 1, 2, kAt});
  Put(0x9010, kAt, 0);  // io_uring_getevents_arg.ts
  ExpectRelative(length, 426 /* io_uring_enter */, {3, 0, 1, 1 | 8, 0x9000, 24});
}

TEST_F(TaskWaitTest, LengthsOfWhichTheRestIsInMemory) {
  Put(kAt, 2, 250'000);
  TaskWait wait = Wait(SYS_select, {0, 0, 0, 0, kAt});
  EXPECT_EQ(wait.length, milliseconds(2250));
  EXPECT_EQ(wait.rest, kAt);
  EXPECT_EQ(wait.rest_unit_ns, 1000);
  for (const int64_t call : {SYS_pselect6, SYS_ppoll}) {
    wait = Wait(call, {0, 0, kAt, 0, kAt});
    EXPECT_EQ(wait.length, seconds(2) + Duration(250'000));
    EXPECT_EQ(wait.rest, kAt);
    EXPECT_EQ(wait.rest_unit_ns, 1);
  }
}

TEST_F(TaskWaitTest, PointsInTime) {
  Put(kAt, 160, 0);
  ExpectAbsolute(seconds(60), SYS_clock_nanosleep, {CLOCK_MONOTONIC, TIMER_ABSTIME, kAt});
  ExpectAbsolute(seconds(-40), SYS_clock_nanosleep, {CLOCK_BOOTTIME, TIMER_ABSTIME, kAt});
  ExpectAbsolute(seconds(60), SYS_futex, {1, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0, kAt});
  ExpectAbsolute(seconds(60), 449 /* futex_waitv */, {1, 1, 0, kAt, CLOCK_MONOTONIC});
  ExpectAbsolute(seconds(60), 455 /* futex_wait */, {1, 0, 0, 0, kAt, CLOCK_MONOTONIC});
  Put(kAt, 1'700'000'003, 0);
  ExpectAbsolute(seconds(3), SYS_clock_nanosleep, {CLOCK_REALTIME, TIMER_ABSTIME, kAt});
  ExpectAbsolute(seconds(3), SYS_futex,
                 {1, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 0, kAt});
  ExpectAbsolute(seconds(3), SYS_mq_timedreceive, {1, 2, 3, 4, kAt});
}

TEST_F(TaskWaitTest, WhatHasNoEnd) {
  Put(kAt, 160, 0);
  EXPECT_EQ(Wait(SYS_read, {0, kAt, 1}).kind, Kind::kEndless);
  EXPECT_EQ(Wait(SYS_futex, {1, FUTEX_WAIT, 0, 0}).kind, Kind::kEndless);
  EXPECT_EQ(Wait(SYS_futex, {1, FUTEX_WAKE, 0, kAt}).kind, Kind::kEndless);
  EXPECT_EQ(Wait(SYS_ppoll, {0, 0, 0}).kind, Kind::kEndless);
  EXPECT_EQ(Wait(SYS_clock_nanosleep, {CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME, kAt}).kind,
            Kind::kEndless);
}

TEST_F(TaskWaitTest, MemoryThatIsNoTimeIsNotBelieved) {
  EXPECT_EQ(Wait(SYS_nanosleep, {kAt}).kind, Kind::kEndless) << "not there";
  for (const auto& [first, second] :
       {std::pair<int64_t, int64_t>{-1, 0}, {1, -1}, {1, 1'000'000'000}, {INT64_MAX, 0}}) {
    Put(kAt, first, second);
    EXPECT_EQ(Wait(SYS_nanosleep, {kAt}).kind, Kind::kEndless) << first << " " << second;
    EXPECT_EQ(Wait(SYS_clock_nanosleep, {CLOCK_REALTIME, TIMER_ABSTIME, kAt}).kind, Kind::kEndless)
        << first << " " << second;
  }
}

TEST_F(TaskWaitTest, ACallThatGoesOn) {
  EXPECT_EQ(Wait(SYS_restart_syscall, {0, 0, kAt}).kind, Kind::kContinued);
}

}  // namespace
}  // namespace im::agent
