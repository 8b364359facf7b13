#include "orchestrator/checkpoint_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>

namespace im::orchestrator {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

class CheckpointStoreTest : public testing::Test {
 protected:
  CheckpointStoreTest() {
    std::string pattern = testing::TempDir() + "/checkpointsXXXXXX";
    directory_ = mkdtemp(pattern.data());
    store_.emplace(directory_);
    std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), boot_id_);
  }
  ~CheckpointStoreTest() override {
    store_.reset();
    fs::remove_all(directory_);
  }

  // As an agent leaves it; without `manifest` it is not whole.
  void Make(const std::string& name, const std::string& manifest) {
    fs::create_directories(directory_ + "/" + name);
    std::ofstream(directory_ + "/" + name + "/pages-1.img") << "memory";
    if (!manifest.empty()) std::ofstream(directory_ + "/" + name + "/manifest") << manifest;
  }
  std::string Manifest(const std::string& host, const std::string& boot_id) const {
    proto::CheckpointManifest manifest;
    manifest.set_host(host);
    manifest.set_boot_id(boot_id);
    manifest.set_root_pid(2);
    return manifest.SerializeAsString();
  }
  std::set<std::string> Names() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory_))
      if (const std::string name = entry.path().filename(); name[0] != '.') names.insert(name);
    return names;
  }

  std::string directory_;
  std::string boot_id_;
  std::optional<CheckpointStore> store_;
};

TEST_F(CheckpointStoreTest, OnlyAManifestOfThisHostAndBootMakesACheckpoint) {
  Make("db", Manifest("db", boot_id_));
  Make("other", Manifest("db", boot_id_));
  Make("old", Manifest("old", "00000000-1111-2222-3333-444444444444"));
  Make("part", "");
  Make("damaged", "\xff\xff");
  ASSERT_TRUE(store_->Read("db").has_value());
  EXPECT_EQ(store_->Read("db")->root_pid(), 2u);
  for (const char* host : {"other", "old", "part", "damaged", "none"})
    EXPECT_FALSE(store_->Read(host).has_value()) << host;
  EXPECT_FALSE(CheckpointStore("").Read("db").has_value());
}

TEST_F(CheckpointStoreTest, WhatIsRemovedIsGoneAtOnce) {
  Make("db", Manifest("db", boot_id_));
  store_->Remove("db");
  EXPECT_FALSE(store_->Read("db").has_value());
  EXPECT_THAT(Names(), ElementsAre());
  store_->Remove("db");
  store_.reset();
  EXPECT_TRUE(fs::is_empty(directory_));
}

TEST_F(CheckpointStoreTest, UnfinishedOnesOfWhoIsAtItAreKept) {
  Make("db", Manifest("db", boot_id_));
  Make("a.new", "");
  Make("b.new", "");
  std::set<std::string> seen;
  store_->ForEach([&](const std::string& host) { seen.insert(host); });
  EXPECT_THAT(seen, ElementsAre("db"));
  store_->RemoveUnfinished([](const std::string& host) { return host == "a"; });
  EXPECT_THAT(Names(), ElementsAre("a.new", "db"));
}

TEST_F(CheckpointStoreTest, WhatAnAgentDidNotFinishGoesWithoutTheCheckpoint) {
  Make("db", Manifest("db", boot_id_));
  Make("db.new", "");
  Make("db2.new", "");
  store_->RemoveUnfinished("db");
  store_->RemoveUnfinished("none");
  EXPECT_THAT(Names(), ElementsAre("db", "db2.new"));
  EXPECT_TRUE(store_->Read("db").has_value());
}

TEST_F(CheckpointStoreTest, TheDirectoryIsItsOwnersAlone) {
  const CheckpointStore store(directory_ + "/data/shop/checkpoints");
  ASSERT_TRUE(store.MakeDirectory().ok());
  struct stat info {};
  ASSERT_EQ(stat(store.DirectoryOf("").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
}

TEST(CheckpointFingerprintTest, IsOfWhatProcessesAreStartedWith) {
  proto::StartRequest request;
  request.set_host("db");
  request.mutable_program()->add_argv("redis-server");
  for (const char* name : {"A", "B", "C", "D", "E"})
    (*request.mutable_program()->mutable_environment())[name] = "1";
  const std::string before = CheckpointFingerprint(request);

  proto::StartRequest same;  // put together in another order
  for (const char* name : {"E", "C", "A", "D", "B"})
    (*same.mutable_program()->mutable_environment())[name] = "1";
  same.mutable_program()->add_argv("redis-server");
  same.mutable_program()->set_stop_grace_ms(5);
  same.set_host("db");
  same.set_incarnation(8);
  EXPECT_EQ(CheckpointFingerprint(same), before);

  proto::StartRequest other = request;
  other.mutable_program()->add_argv("--port");
  EXPECT_NE(CheckpointFingerprint(other), before);
  other = request;
  (*other.mutable_program()->mutable_environment())["A"] = "2";
  EXPECT_NE(CheckpointFingerprint(other), before);
  other = request;
  other.mutable_program()->add_mounts()->set_target("/data");
  EXPECT_NE(CheckpointFingerprint(other), before);
}

}  // namespace
}  // namespace im::orchestrator
