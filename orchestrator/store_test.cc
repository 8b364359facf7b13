#include "orchestrator/store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace im::orchestrator {
namespace {

using testing::HasSubstr;

proto::SavedState State(int instances) {
  proto::SavedState state;
  state.set_format(kStateFormat);
  state.set_cluster("shop");
  state.set_gateway_private_key(std::string(32, 'k'));
  state.set_gateway_port(51820);
  for (int i = 0; i < instances; ++i) {
    proto::SavedInstance& instance = *state.add_instances();
    instance.set_host(absl::StrCat("web-", i));
    instance.set_incarnation(static_cast<uint64_t>(i) + 1);
  }
  return state;
}

class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    directory_ = (std::filesystem::temp_directory_path() / "im-store-XXXXXX").string();
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    store_.emplace(directory_ + "/state.pb");
  }
  ~StoreTest() override { std::filesystem::remove_all(directory_); }

  std::string Read() const {
    std::ifstream in(store_->path());
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  void Write(const std::string& bytes) const {
    std::ofstream(store_->path(), std::ios::trunc) << bytes;
  }
  std::string LoadError() const { return std::string(store_->Load().status().message()); }
  // Not one that was not there, nor one of another count.
  int SavedInstances() const {
    const auto loaded = store_->Load();
    return loaded.ok() && loaded->has_value() ? (*loaded)->instances_size() : -1;
  }

  std::string directory_;
  std::optional<Store> store_;
};

TEST_F(StoreTest, WhatIsSavedIsLoaded) {
  const auto none = store_->Load();
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_FALSE(none->has_value());
  ASSERT_TRUE(store_->Save(State(3)).ok());
  const auto loaded = store_->Load();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->SerializeAsString(), State(3).SerializeAsString());
  ASSERT_TRUE(store_->Remove().ok());
  EXPECT_FALSE(store_->Load()->has_value());
  EXPECT_TRUE(store_->Remove().ok()) << "there is nothing left to do";
}

TEST_F(StoreTest, HoldsAKeyAndIsForNobodyElse) {
  const mode_t before = umask(0);
  ASSERT_TRUE(store_->Save(State(0)).ok());
  umask(before);
  struct stat info{};
  ASSERT_EQ(stat(store_->path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(StoreTest, IsReplacedAsAWhole) {
  ASSERT_TRUE(store_->Save(State(3)).ok());
  const int old_file = open(store_->path().c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_TRUE(store_->Save(State(50)).ok());
  // Who has it open still sees the old one, all of it.
  struct stat info{};
  ASSERT_EQ(fstat(old_file, &info), 0);
  close(old_file);
  EXPECT_LT(static_cast<size_t>(info.st_size), Read().size());
  EXPECT_EQ(SavedInstances(), 50);
  // What an imd left that was killed while it wrote is in nobody's way.
  std::ofstream(store_->path() + ".new") << std::string(100'000, 'x');
  ASSERT_TRUE(store_->Save(State(2)).ok());
  EXPECT_EQ(SavedInstances(), 2);
}

TEST_F(StoreTest, EveryTornFileIsFoundOut) {
  ASSERT_TRUE(store_->Save(State(5)).ok());
  const std::string whole = Read();
  for (size_t size = 0; size < whole.size(); ++size) {
    Write(whole.substr(0, size));
    ASSERT_THAT(LoadError(), HasSubstr("is damaged")) << size;
    ASSERT_THAT(LoadError(), HasSubstr(store_->path()));
  }
  Write(whole + "x");
  EXPECT_THAT(LoadError(), HasSubstr("wrong checksum"));
  Write(whole);
  EXPECT_EQ(SavedInstances(), 5);
}

TEST_F(StoreTest, EveryFlippedByteIsFoundOut) {
  ASSERT_TRUE(store_->Save(State(2)).ok());
  const std::string whole = Read();
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string bytes = whole;
    bytes[i] = static_cast<char>(bytes[i] ^ 0x10);
    Write(bytes);
    ASSERT_THAT(LoadError(), HasSubstr("is damaged")) << i;
  }
}

TEST_F(StoreTest, AFileOfSomethingElseIsNotTaken) {
  Write("name: shop\nhosts: {}\nwhatever: else\n");
  EXPECT_THAT(LoadError(), HasSubstr("another kind of file"));
  ASSERT_EQ(truncate(store_->path().c_str(), kStateBytesMax + 1), 0);
  EXPECT_THAT(LoadError(), HasSubstr("too large"));
  std::filesystem::remove(store_->path());
  std::filesystem::create_directory(store_->path());
  EXPECT_FALSE(store_->Load().ok());
}

TEST_F(StoreTest, AnotherFormatIsNamed) {
  proto::SavedState state = State(1);
  state.set_format(kStateFormat + 1);
  ASSERT_TRUE(store_->Save(state).ok());
  EXPECT_THAT(LoadError(), HasSubstr("has format 2, this imd knows format 1"));
}

TEST_F(StoreTest, WhatCannotBeWrittenIsSaidAndTheOldOneStays) {
  ASSERT_TRUE(store_->Save(State(4)).ok());
  const Store elsewhere(directory_ + "/gone/state.pb");
  EXPECT_THAT(std::string(elsewhere.Save(State(1)).message()),
              HasSubstr("state.pb.new: No such file"));
  // A full disk: the new file's place is one.
  std::filesystem::create_symlink("/dev/full", store_->path() + ".new");
  EXPECT_THAT(std::string(store_->Save(State(7)).message()), HasSubstr("No space left"));
  std::filesystem::remove(store_->path() + ".new");
  EXPECT_EQ(SavedInstances(), 4);
}

TEST_F(StoreTest, AFileThatEndsTooEarlyDoesNotReplaceTheOldOne) {
  ASSERT_TRUE(store_->Save(State(4)).ok());
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{200, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status = store_->Save(State(1000));
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old_handler);
  EXPECT_THAT(std::string(status.message()), HasSubstr("File too large"));
  EXPECT_EQ(SavedInstances(), 4);
  EXPECT_TRUE(store_->Save(State(1000)).ok()) << "there is room again";
  EXPECT_EQ(SavedInstances(), 1000);
}

}  // namespace
}  // namespace im::orchestrator
