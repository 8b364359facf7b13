#include "orchestrator/agent/timer_probe.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/file_descriptor.h"

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(TimerProbeTest, ReadsATimerFd) {
  const auto seen = ParseTimerFd(
      "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t1057\nclockid: 1\nticks: 0\n"
      "settime flags: 01\nit_value: (12, 500000000)\nit_interval: (60, 0)\n");
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(seen->kind, TaskWait::Kind::kAbsolute);
  EXPECT_EQ(seen->length, milliseconds(12'500));
  EXPECT_EQ(seen->period, seconds(60));
}

TEST(TimerProbeTest, WhatWillNotExpireIsNoTimer) {
  for (const char* text :
       {"", "it_value: (0, 0)\nit_interval: (1, 0)\n", "it_value: (x, 0)\n", "it_value: (-1, 0)\n",
        "it_value: (1, 1000000000)\n", "it_value: (99999999999, 0)\n", "it_interval: (1, 0)\n"})
    EXPECT_FALSE(ParseTimerFd(text).has_value()) << text;
}

TEST(TimerProbeTest, FindsItsOwnTimerFd) {
  const FileDescriptor fd(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC));
  const itimerspec time{{}, {1000, 0}};
  ASSERT_EQ(timerfd_settime(fd.get(), 0, &time, nullptr), 0);
  const auto find = [&](bool with_fds) {
    const TimerLook look = LookAtTimers({getpid()}, with_fds);
    EXPECT_FALSE(look.seen.empty()) << "the task itself";
    return std::any_of(look.seen.begin(), look.seen.end(), [&](const TimerSeen& seen) {
      return seen.task == getpid() && seen.fd == fd.get() && seen.length > seconds(900) &&
             seen.length <= seconds(1000);
    });
  };
  EXPECT_TRUE(find(true));
  EXPECT_FALSE(find(false));
}

TEST(TimerProbeTest, TellsOfATaskThatRunsAndNotOfOneThatWaits) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  FileDescriptor out(pipe_fds[0]), in(pipe_fds[1]);
  // Runs until it is told to wait; waits until it is killed.
  static volatile sig_atomic_t waits;
  waits = 0;
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    signal(SIGUSR1, [](int) { waits = 1; });
    if (write(in.get(), "r", 1) != 1) _exit(1);
    while (waits == 0) continue;
    while (true) pause();
  }
  char ready;
  ASSERT_EQ(read(out.get(), &ready, 1), 1);
  EXPECT_FALSE(LookAtTimers({child}, false).running.empty());
  EXPECT_EQ(kill(child, SIGUSR1), 0);
  const Instant deadline = RealClock().Now() + seconds(30);
  while (!LookAtTimers({child}, false).running.empty() && RealClock().Now() < deadline) sched_yield();
  EXPECT_TRUE(LookAtTimers({child}, false).running.empty());
  EXPECT_EQ(kill(child, SIGKILL), 0);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

TEST(TimerProbeTest, CountsWhatIsWritten) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const FileDescriptor out(pipe_fds[0]), in(pipe_fds[1]);
  const uint64_t before = CountDeeds({getpid()});
  ASSERT_EQ(write(in.get(), "x", 1), 1);
  EXPECT_GT(CountDeeds({getpid()}), before);
  EXPECT_EQ(CountDeeds({}), 0u);
}

}  // namespace
}  // namespace im::agent
