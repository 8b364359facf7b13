#include "orchestrator/agent/tree_copy.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "base/file_descriptor.h"

namespace im::agent {
namespace {

namespace fs = std::filesystem;

class TreeCopyTest : public testing::Test {
 protected:
  TreeCopyTest() {
    std::string directory = testing::TempDir() + "/copyXXXXXX";
    EXPECT_NE(mkdtemp(directory.data()), nullptr);
    root_ = directory;
    fs::create_directory(root_ / "from");
    fs::create_directory(root_ / "to");
  }
  ~TreeCopyTest() override { fs::remove_all(root_); }

  absl::Status Copy() {
    const FileDescriptor from(open((root_ / "from").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const FileDescriptor to(open((root_ / "to").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return CopyContent(from.get(), to.get());
  }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(root_ / "from" / name) << text;
  }
  std::string Read(const std::string& name) {
    std::ostringstream text;
    text << std::ifstream(root_ / "to" / name).rdbuf();
    return text.str();
  }
  struct stat Look(const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(lstat((root_ / path).c_str(), &info), 0) << path;
    return info;
  }

  fs::path root_;
};

TEST_F(TreeCopyTest, FilesDirectoriesAndLinksAreCopiedAsTheyAre) {
  fs::create_directories(root_ / "from/a/b");
  Write("a/b/file", std::string(300'000, 'x'));
  Write("empty", "");
  Write("run", "#!/bin/sh\n");
  fs::create_symlink("/nowhere", root_ / "from/link");
  fs::create_directory_symlink("a", root_ / "from/a-link");
  ASSERT_EQ(chmod((root_ / "from/run").c_str(), 04711), 0);
  ASSERT_EQ(chmod((root_ / "from/a").c_str(), 01750), 0);
  const timespec times[] = {{1'000'000, 5}, {2'000'000, 7}};
  ASSERT_EQ(utimensat(AT_FDCWD, (root_ / "from/a").c_str(), times, 0), 0);
  if (geteuid() == 0) {
    ASSERT_EQ(lchown((root_ / "from/run").c_str(), 1000, 1001), 0);
    ASSERT_EQ(chmod((root_ / "from/run").c_str(), 04711), 0);  // which lchown took
    ASSERT_EQ(lchown((root_ / "from/link").c_str(), 1002, 1003), 0);
  }
  ASSERT_EQ(mkfifo((root_ / "from/fifo").c_str(), 0600), 0);

  const absl::Status copied = Copy();
  ASSERT_TRUE(copied.ok()) << copied;
  EXPECT_EQ(Read("a/b/file"), std::string(300'000, 'x'));
  EXPECT_EQ(Read("empty"), "");
  EXPECT_EQ(fs::read_symlink(root_ / "to/link"), "/nowhere");
  EXPECT_EQ(fs::read_symlink(root_ / "to/a-link"), "a");
  EXPECT_FALSE(fs::exists(fs::symlink_status(root_ / "to/fifo")));
  for (const char* name : {"run", "link", "a", "a/b", "a/b/file", "empty"}) {
    const struct stat from = Look(std::string("from/") + name);
    const struct stat to = Look(std::string("to/") + name);
    EXPECT_EQ(to.st_mode, from.st_mode) << name;
    EXPECT_EQ(to.st_uid, from.st_uid) << name;
    EXPECT_EQ(to.st_gid, from.st_gid) << name;
  }
  EXPECT_EQ(Look("to/a").st_mtim.tv_sec, 2'000'000);
  EXPECT_EQ(Look("to/a").st_mtim.tv_nsec, 7);
}

TEST_F(TreeCopyTest, WhatIsThereAlreadyIsNotTouched) {
  Write("file", "new");
  std::ofstream(root_ / "to/file") << "old";
  EXPECT_FALSE(Copy().ok());
  EXPECT_EQ(Read("file"), "old");
}

}  // namespace
}  // namespace im::agent
