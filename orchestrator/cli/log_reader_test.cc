#include "orchestrator/cli/log_reader.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace im::orchestrator::cli {
namespace {

class LogReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = (std::filesystem::temp_directory_path() / "im-log-XXXXXX").string();
    ASSERT_NE(mkdtemp(directory_.data()), nullptr);
    path_ = directory_ + "/log";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void Append(const std::string& text) { std::ofstream(path_, std::ios::app) << text; }
  void Rotate() {
    if (std::filesystem::exists(path_ + ".1")) std::filesystem::rename(path_ + ".1", path_ + ".2");
    std::filesystem::rename(path_, path_ + ".1");
  }

  std::string directory_;
  std::string path_;
};

TEST(LastLines, CountsAnUnfinishedLine) {
  EXPECT_EQ(LastLines("a\nb\nc\n", 2), "b\nc\n");
  EXPECT_EQ(LastLines("a\nb\nc", 2), "b\nc");
  EXPECT_EQ(LastLines("a\nb", 5), "a\nb");
  EXPECT_EQ(LastLines("", 5), "");
  EXPECT_EQ(LastLines("\n\n\n", 2), "\n\n");
}

TEST_F(LogReaderTest, ReadsTheTailOverRotatedFiles) {
  Append("1\n2\n");
  Rotate();
  Append("3\n4\n");
  Rotate();
  Append("5\n");
  EXPECT_EQ(LogReader(path_).ReadTail(0), "1\n2\n3\n4\n5\n");
  EXPECT_EQ(LogReader(path_).ReadTail(1), "5\n");
  EXPECT_EQ(LogReader(path_).ReadTail(2), "4\n5\n");
  EXPECT_EQ(LogReader(path_).ReadTail(4), "2\n3\n4\n5\n");
  EXPECT_EQ(LogReader(path_).ReadTail(99), "1\n2\n3\n4\n5\n");
}

TEST_F(LogReaderTest, FollowsWholeLines) {
  Append("1\n");
  LogReader reader(path_);
  EXPECT_EQ(reader.ReadTail(0), "1\n");
  EXPECT_EQ(reader.ReadNew(), "");
  Append("2\n3");
  EXPECT_EQ(reader.ReadNew(), "2\n");
  Append("3\n");
  EXPECT_EQ(reader.ReadNew(), "33\n");
}

TEST_F(LogReaderTest, FollowsAcrossARotation) {
  Append("1\n");
  LogReader reader(path_);
  reader.ReadTail(0);
  Append("2\n");
  Rotate();
  Append("3\n");
  EXPECT_EQ(reader.ReadNew(), "2\n3\n");
  Append("4\n");
  EXPECT_EQ(reader.ReadNew(), "4\n");
}

TEST_F(LogReaderTest, AFileThatIsNotThereYetIsEmpty) {
  LogReader reader(path_);
  EXPECT_EQ(reader.ReadTail(10), "");
  EXPECT_EQ(reader.ReadNew(), "");
  Append("1\n");
  EXPECT_EQ(reader.ReadNew(), "1\n");
}

}  // namespace
}  // namespace im::orchestrator::cli
