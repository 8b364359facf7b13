#include "base/clock.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <string_view>

#include "base/file_descriptor.h"

namespace im {
namespace {

using std::chrono::seconds;

TEST(RealClockTest, NeverGoesBackwards) {
  const RealClock clock;
  Instant last = clock.Now();
  for (int i = 0; i < 10'000; ++i) {
    const Instant now = clock.Now();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(RealClockTest, WallClockIsTheSystems) {
  const time_t before = time(nullptr);
  const int64_t nanos = RealClock().UnixNanos();
  EXPECT_GE(nanos / 1'000'000'000, before - 1);
  EXPECT_LE(nanos / 1'000'000'000, time(nullptr) + 1);
}

// In a time namespace in which the machine has been suspended for an hour.
TEST(BootClockTest, CountsTheTimeOfASuspend) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    constexpr int kNotPermitted = 2;
    constexpr std::string_view kOffset = "boottime 3600 0";
    if (unshare(CLONE_NEWTIME) != 0) _exit(kNotPermitted);
    const FileDescriptor offsets(open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC));
    if (write(offsets.get(), kOffset.data(), kOffset.size()) != static_cast<ssize_t>(kOffset.size())) {
      _exit(kNotPermitted);
    }
    const auto ahead = [] { return BootClock().Now() - RealClock().Now(); };
    const Duration before = ahead();
    const pid_t grandchild = fork();  // the first to live in the new namespace
    if (grandchild == 0) _exit(ahead() - before > seconds(3590) ? 0 : 1);
    int status = 0;
    waitpid(grandchild, &status, 0);
    _exit(WEXITSTATUS(status));
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "needs time namespaces";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(ManualClockTest, MovesOnlyWhenTold) {
  ManualClock clock;
  const Instant start = clock.Now();
  EXPECT_EQ(clock.Now(), start);
  const int64_t wall = clock.UnixNanos();
  clock.Advance(seconds(3));
  EXPECT_EQ(clock.Now() - start, seconds(3));
  EXPECT_EQ(clock.UnixNanos() - wall, 3'000'000'000);
}

TEST(ManualClockTest, AJumpOfTheWallClockLeavesMonotonicTimeAlone) {
  ManualClock clock;
  const Instant start = clock.Now();
  const int64_t wall = clock.UnixNanos();
  clock.JumpWall(-seconds(5));
  EXPECT_EQ(clock.Now(), start);
  EXPECT_EQ(clock.UnixNanos() - wall, -5'000'000'000);
}

}  // namespace
}  // namespace im
