#include "orchestrator/agent/cgroup.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "gtest/gtest.h"
#include "orchestrator/agent/proc_stat.h"

namespace im::agent {
namespace {

// Hierarchies of plain files: what the kernel would do with them is not seen,
// what is asked of it is.
class CgroupTest : public testing::Test {
 protected:
  CgroupTest() {
    std::string directory = testing::TempDir() + "/cgroup-XXXXXX";
    EXPECT_NE(mkdtemp(directory.data()), nullptr);
    root_ = directory;
    group_ = root_ + "/im/shop/db.7";
    std::filesystem::create_directories(group_);
    options_ = {.cluster = "shop", .host = "db", .incarnation = 7};
  }
  ~CgroupTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& file, const std::string& text) {
    std::ofstream(group_ + "/" + file) << text;
  }
  std::string Read(const std::string& file) { return ReadSmallFile(group_ + "/" + file); }

  std::string root_, group_;
  Cgroup::Options options_;
  CgroupLayout layout_;
};

TEST_F(CgroupTest, AGroupThatWasLeftFrozenIsThawed) {
  layout_.v2 = {.root = root_, .own = root_};
  Write("cgroup.freeze", "1");
  const auto group = Cgroup::Create(options_, layout_);
  EXPECT_EQ(group->freezer(), Cgroup::Freezer::kVersion2);
  EXPECT_EQ(Read("cgroup.freeze"), "0");
  ASSERT_TRUE(group->Freeze().ok());
  EXPECT_EQ(Read("cgroup.freeze"), "1");
}

TEST_F(CgroupTest, AGroupOfVersion1ThatWasLeftFrozenIsThawed) {
  layout_.v1["freezer"] = {.root = root_, .own = root_};
  Write("freezer.state", "FROZEN");
  Write("cgroup.procs", "");
  const auto group = Cgroup::Create(options_, layout_);
  EXPECT_EQ(group->freezer(), Cgroup::Freezer::kVersion1);
  EXPECT_EQ(Read("freezer.state"), "THAWED");
}

TEST_F(CgroupTest, AHostWhoseMemoryIsReclaimedHasTheMemoryControllerAlone) {
  layout_.v2 = {.root = root_, .own = root_};
  std::ofstream(root_ + "/cgroup.controllers") << "cpu io memory pids\n";
  const std::string files[] = {root_ + "/cgroup.subtree_control",
                               root_ + "/im/cgroup.subtree_control",
                               root_ + "/im/shop/cgroup.subtree_control"};
  for (const std::string& file : files) std::ofstream(file) << "";
  Write("cgroup.freeze", "0");
  {
    const auto group = Cgroup::Create(options_, layout_);
    for (const std::string& file : files) EXPECT_EQ(ReadSmallFile(file), "");
    EXPECT_EQ(group->ReclaimFile(), "");
  }
  std::filesystem::create_directories(group_);
  Write("cgroup.freeze", "0");
  Write("memory.reclaim", "");
  options_.reclaim = true;
  const auto group = Cgroup::Create(options_, layout_);
  for (const std::string& file : files) EXPECT_EQ(ReadSmallFile(file), "+memory") << file;
  EXPECT_EQ(group->ReclaimFile(), group_ + "/memory.reclaim");
  EXPECT_TRUE(group->notes().empty());
}

TEST_F(CgroupTest, WithoutAFreezerProcessesAreSignalled) {
  const auto group = Cgroup::Create(options_, layout_);
  EXPECT_EQ(group->freezer(), Cgroup::Freezer::kSignals);
}

}  // namespace
}  // namespace im::agent
