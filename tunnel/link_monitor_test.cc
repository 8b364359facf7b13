// Against the kernel, each test in network namespaces of its own. Skipped
// where that is not permitted.

#include "tunnel/link_monitor.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <thread>
#include <vector>

#include "base/netlink.h"
#include "base/test_namespace.h"
#include "base/tun_device.h"
#include "gtest/gtest.h"

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

FileDescriptor CurrentNamespace() {
  return FileDescriptor(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}

struct Watched {
  Watched() : loop(*EventLoop::Create(clock)) {}

  LinkMonitor::Callbacks Callbacks() {
    return {.on_state =
                [this](const LinkState& state) {
                  mtu_bytes = state.mtu_bytes;
                  up = state.up;
                },
            .on_removed = [this] { ++removals; }};
  }
  bool RunUntil(const std::function<bool()>& done) {
    const Instant deadline = clock.Now() + seconds(10);
    while (!done()) {
      if (clock.Now() > deadline) return false;
      loop->RunOnce(milliseconds(100));
    }
    return true;
  }

  RealClock clock;
  std::unique_ptr<EventLoop> loop;
  std::optional<int> mtu_bytes;
  std::optional<bool> up;
  int removals = 0;
};

TEST(LinkMonitorTest, TheStateIsToldAtTheStartAndWhenItChanges) {
  InNamespace([] {
    Watched watched;
    absl::StatusOr<TunDevice> tun = TunDevice::Create({.name = "im0"});
    ASSERT_TRUE(tun.ok()) << tun.status();
    ASSERT_TRUE(SetLinkMtu("im0", 1300).ok());
    auto monitor = LinkMonitor::Create("im0", *watched.loop, watched.Callbacks());
    ASSERT_TRUE(monitor.ok()) << monitor.status();
    ASSERT_TRUE(watched.RunUntil([&] { return watched.mtu_bytes == 1300; }));
    EXPECT_EQ(watched.up, false);
    ASSERT_TRUE(SetLinkUp("im0").ok());
    EXPECT_TRUE(watched.RunUntil([&] { return watched.up == true; }));
    ASSERT_TRUE(SetLinkMtu("im0", 1400).ok());
    EXPECT_TRUE(watched.RunUntil([&] { return watched.mtu_bytes == 1400; }));
    EXPECT_EQ(watched.removals, 0);
  });
}

TEST(LinkMonitorTest, OtherInterfacesAreNotItsBusiness) {
  InNamespace([] {
    Watched watched;
    absl::StatusOr<TunDevice> tun = TunDevice::Create({.name = "im0"});
    ASSERT_TRUE(tun.ok());
    auto monitor = LinkMonitor::Create("im0", *watched.loop, watched.Callbacks());
    ASSERT_TRUE(monitor.ok());
    ASSERT_TRUE(watched.RunUntil([&] { return watched.mtu_bytes.has_value(); }));
    {
      absl::StatusOr<TunDevice> other = TunDevice::Create({.name = "im1"});
      ASSERT_TRUE(other.ok());
      ASSERT_TRUE(SetLinkMtu("im1", 1234).ok());
    }
    ASSERT_TRUE(SetLinkMtu("im0", 1400).ok());  // behind all of the other's
    ASSERT_TRUE(watched.RunUntil([&] { return watched.mtu_bytes != 1500; }));
    EXPECT_EQ(watched.mtu_bytes, 1400);
    EXPECT_EQ(watched.removals, 0);
  });
}

TEST(LinkMonitorTest, ItsRemovalIsToldOnceAndMayDestroyTheMonitor) {
  InNamespace([] {
    Watched watched;
    std::optional<TunDevice> tun = *TunDevice::Create({.name = "im0"});
    std::unique_ptr<LinkMonitor> monitor;
    LinkMonitor::Callbacks callbacks = watched.Callbacks();
    callbacks.on_removed = [&, values = std::vector<int>(1000)] {
      monitor.reset();
      watched.removals += static_cast<int>(values.size());
    };
    monitor = *LinkMonitor::Create("im0", *watched.loop, std::move(callbacks));
    tun.reset();
    EXPECT_TRUE(watched.RunUntil([&] { return watched.removals == 1000; }));
    EXPECT_EQ(monitor, nullptr);
  });
}

TEST(ReadLinkTest, AnInterfaceOfAnotherNamespaceIsReadFromHere) {
  InNamespace([] {
    const FileDescriptor home = CurrentNamespace();
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    absl::StatusOr<TunDevice> tun = TunDevice::Create({.name = "im7"});
    ASSERT_TRUE(tun.ok());
    ASSERT_TRUE(SetLinkMtu("im7", 1333).ok());
    EXPECT_FALSE(ReadLink("im7")->up);
    ASSERT_TRUE(SetLinkUp("im7").ok());
    ASSERT_EQ(setns(home.get(), CLONE_NEWNET), 0);
    EXPECT_TRUE(absl::IsNotFound(ReadLink("im7").status()));

    const absl::StatusOr<FileDescriptor> found = tun->NetworkNamespace();
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(*tun->CurrentName(), "im7");
    const absl::StatusOr<LinkState> state = ReadLinkIn(*found, "im7");
    ASSERT_TRUE(state.ok()) << state.status();
    EXPECT_TRUE(state->up);
    EXPECT_EQ(state->mtu_bytes, 1333);
    EXPECT_FALSE(LinkIndex("im7").ok());  // we are where we were
    EXPECT_TRUE(absl::IsNotFound(ReadLinkIn(*found, "im8").status()));
  });
}

TEST(LinkMonitorTest, WhatIsNotThereCannotBeWatched) {
  InNamespace([] {
    Watched watched;
    EXPECT_FALSE(LinkMonitor::Create("im0", *watched.loop, {}).ok());
  });
}

}  // namespace
}  // namespace im::tunnel
