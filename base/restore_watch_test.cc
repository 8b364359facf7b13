#include "base/restore_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/test_namespace.h"

namespace im {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Jump = ClockJumps::Jump;
using namespace std::string_view_literals;

class ClockJumpsTest : public ::testing::Test {
 protected:
  // So much passes; asleep, CLOCK_MONOTONIC stands still.
  void Pass(Duration awake, Duration asleep = {}) {
    now.monotonic += awake;
    now.boottime += awake + asleep;
    now.unix_nanos += (awake + asleep).count();
  }
  void SetWall(Duration by) { now.unix_nanos += by.count(); }

  ClockReadings now = {Instant(seconds(100)), Instant(seconds(5000)), 1'700'000'000'000'000'000};
  ClockJumps jumps{now};
};

TEST_F(ClockJumpsTest, TimeThatPassesIsNoJump) {
  for (const Duration time : {Duration(0), Duration(milliseconds(5)), Duration(hours(9000))}) {
    Pass(time);
    EXPECT_EQ(jumps.Look(now), Jump::kNone);
  }
}

TEST_F(ClockJumpsTest, ASuspendIsToldOnce) {
  Pass(hours(1), seconds(1));
  EXPECT_EQ(jumps.Look(now), Jump::kSlept);
  EXPECT_EQ(jumps.Look(now), Jump::kNone);
  Pass(hours(1), hours(8));
  EXPECT_EQ(jumps.Look(now), Jump::kSlept);
}

TEST_F(ClockJumpsTest, ASnapshotWhoseClockIsSetRightIsToldOnce) {
  Pass(hours(1));
  SetWall(hours(70));
  EXPECT_EQ(jumps.Look(now), Jump::kSetForward);
  Pass(hours(1));
  EXPECT_EQ(jumps.Look(now), Jump::kNone);
}

TEST_F(ClockJumpsTest, TheStepsOfATimeDaemonAreNone) {
  Pass(hours(1));
  SetWall(milliseconds(400));
  EXPECT_EQ(jumps.Look(now), Jump::kNone);
  SetWall(-milliseconds(300));
  EXPECT_EQ(jumps.Look(now), Jump::kNone);
}

TEST_F(ClockJumpsTest, ManySmallStepsBecomeALargeOne) {
  int told = 0;
  for (int i = 0; i < 20; ++i) {
    Pass(seconds(10));
    SetWall(milliseconds(300));
    told += jumps.Look(now) != Jump::kNone ? 1 : 0;
  }
  EXPECT_EQ(told, 5);
}

TEST_F(ClockJumpsTest, AClockThatIsSetBackIsNoJumpAndCountsFromThere) {
  SetWall(-hours(2));
  EXPECT_EQ(jumps.Look(now), Jump::kNone);
  SetWall(seconds(2));
  EXPECT_EQ(jumps.Look(now), Jump::kSetForward);
}

TEST(UeventTest, OnlyTheKernelsKeyCounts) {
  const auto is = [](std::string_view text) { return IsNewGeneration({text.data(), text.size()}); };
  EXPECT_TRUE(is("change@/devices/VMGENCTR:00\0ACTION=change\0NEW_VMGENID=1\0SEQNUM=7\0"sv));
  EXPECT_TRUE(is("change@/x\0NEW_VMGENID=1"sv));  // cut off
  EXPECT_FALSE(is("change@/x\0ACTION=change\0SYNTH_ARG_NEW_VMGENID=1\0"sv));
  EXPECT_FALSE(is("change@/NEW_VMGENID=1\0NEW_VMGENID=10\0NEW_VMGENID=\0"sv));
  EXPECT_FALSE(is(""sv));
  EXPECT_FALSE(is("\0\0\0"sv));
}

// Has the kernel send a uevent in this network namespace.
void SendUevent(std::string_view text) {
  std::vector<char> message(NLMSG_SPACE(text.size()));
  auto* header = reinterpret_cast<nlmsghdr*>(message.data());
  header->nlmsg_len = static_cast<uint32_t>(NLMSG_LENGTH(text.size()));
  header->nlmsg_type = NLMSG_MIN_TYPE;
  header->nlmsg_flags = NLM_F_REQUEST;
  std::memcpy(NLMSG_DATA(header), text.data(), text.size());
  const FileDescriptor fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT));
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  ASSERT_EQ(sendto(fd.get(), message.data(), header->nlmsg_len, 0,
                   reinterpret_cast<const sockaddr*>(&kernel), sizeof(kernel)),
            static_cast<ssize_t>(header->nlmsg_len));
}

TEST(RestoreWatchTest, HearsOfANewGenerationAndOfNoOtherDevice) {
  InNamespace([] {
    RealClock clock;
    auto loop = *EventLoop::Create(clock);
    std::vector<std::string> reasons;
    const auto watch = RestoreWatch::Create(
        *loop, {.uevents = true}, [&](absl::string_view why) { reasons.emplace_back(why); });
    SendUevent("add@/devices/other\0ACTION=add\0NEW_VMGENID=1\0"sv);
    SendUevent("change@/devices/other\0ACTION=change\0"sv);
    loop->RunOnce(Duration(0));
    EXPECT_THAT(reasons, ElementsAre());
    SendUevent("change@/devices/VMGENCTR:00\0ACTION=change\0NEW_VMGENID=1\0"sv);
    const Instant deadline = clock.Now() + seconds(10);
    while (reasons.empty() && clock.Now() < deadline) loop->RunOnce(milliseconds(100));
    EXPECT_THAT(reasons, ElementsAre(HasSubstr("snapshot")));
  });
}

TEST(RestoreWatchTest, AQuietWatchHasNothingToDo) {
  RealClock clock;
  auto loop = *EventLoop::Create(clock);
  int told = 0;
  const auto watch = RestoreWatch::Create(*loop, {}, [&](absl::string_view) { ++told; });
  EXPECT_EQ(loop->NextDeadline(), kNever);
  loop->RunOnce(Duration(0));
  EXPECT_EQ(told, 0);
}

}  // namespace
}  // namespace im
