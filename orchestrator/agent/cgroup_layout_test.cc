#include "orchestrator/agent/cgroup_layout.h"

#include <gtest/gtest.h>

namespace im::agent {
namespace {

TEST(CgroupLayoutTest, VersionTwoAlone) {
  const CgroupLayout layout = ParseCgroupLayout(
      "22 27 0:20 / /sys rw,nosuid - sysfs sysfs rw\n"
      "31 22 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
      "0::/user.slice/user-0.slice/session-3.scope\n");
  ASSERT_TRUE(layout.v2.has_value());
  EXPECT_EQ(layout.v2->root, "/sys/fs/cgroup");
  EXPECT_EQ(layout.v2->own, "/sys/fs/cgroup/user.slice/user-0.slice/session-3.scope");
  EXPECT_TRUE(layout.v1.empty());
}

TEST(CgroupLayoutTest, Hybrid) {
  const CgroupLayout layout = ParseCgroupLayout(
      "40 22 0:30 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
      "41 40 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:2 - cgroup cgroup rw,cpu,cpuacct\n"
      "42 40 0:32 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"
      "43 40 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "44 40 0:34 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
      "45 40 0:35 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
      "9:name=systemd:/\n6:freezer:/\n4:memory:/some/group\n2:cpu,cpuacct:/\n0::/\n");
  ASSERT_TRUE(layout.v2.has_value());
  EXPECT_EQ(layout.v2->own, "/sys/fs/cgroup/unified");
  EXPECT_EQ(layout.v1.at("freezer").own, "/sys/fs/cgroup/freezer");
  EXPECT_EQ(layout.v1.at("memory").own, "/sys/fs/cgroup/memory/some/group");
  EXPECT_EQ(layout.v1.at("cpu").root, "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_EQ(layout.v1.at("cpuacct").root, "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_EQ(layout.v1.count("rw"), 0u);
}

TEST(CgroupLayoutTest, InAContainerTheMountShowsASubtree) {
  const CgroupLayout layout = ParseCgroupLayout(
      "42 40 0:32 /docker/abc /sys/fs/cgroup/freezer ro - cgroup cgroup rw,freezer\n"
      "45 40 0:35 /docker/abc /sys/fs/cgroup/unified ro - cgroup2 cgroup2 rw\n",
      "6:freezer:/docker/abc/inner\n0::/elsewhere\n");
  EXPECT_EQ(layout.v1.at("freezer").own, "/sys/fs/cgroup/freezer/inner");
  EXPECT_EQ(layout.v2->own, "/sys/fs/cgroup/unified") << "outside of what is mounted";
}

TEST(CgroupLayoutTest, NothingMounted) {
  for (const char* text : {"", "garbage\n - \n", "1 2 3 / / rw - ext4 /dev/sda rw\n"}) {
    const CgroupLayout layout = ParseCgroupLayout(text, "0::/\n4:memory:/\n");
    EXPECT_FALSE(layout.v2.has_value());
    EXPECT_TRUE(layout.v1.empty());
  }
}

}  // namespace
}  // namespace im::agent
