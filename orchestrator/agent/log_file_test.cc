#include "orchestrator/agent/log_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace im::agent {
namespace {

class LogFileTest : public testing::Test {
 protected:
  LogFileTest() {
    std::string pattern = testing::TempDir() + "/log_file_XXXXXX";
    directory_ = mkdtemp(pattern.data());
    path_ = directory_ + "/log";
  }
  ~LogFileTest() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<LogFile> Open(uint64_t bytes_max, uint32_t files_max) {
    auto log = LogFile::Open({path_, bytes_max, files_max});
    EXPECT_TRUE(log.ok()) << log.status();
    return *std::move(log);
  }
  std::string Content(const std::string& suffix = "") const {
    std::ifstream in(path_ + suffix);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  bool Exists(const std::string& suffix) const { return std::filesystem::exists(path_ + suffix); }

  std::string directory_, path_;
};

TEST_F(LogFileTest, AppendsToWhatIsThere) {
  Open(100, 2)->Append("one\n");
  Open(100, 2)->Append("two\n");
  EXPECT_EQ(Content(), "one\ntwo\n");
}

TEST_F(LogFileTest, TurnsOverBetweenLinesAndKeepsSoManyFiles) {
  auto log = Open(10, 2);
  for (int i = 0; i < 8; ++i) log->Append(absl::StrCat("line", i, "\n"));
  EXPECT_EQ(Content(), "line7\n");
  EXPECT_EQ(Content(".1"), "line6\n");
  EXPECT_EQ(Content(".2"), "line5\n");
  EXPECT_FALSE(Exists(".3"));
}

TEST_F(LogFileTest, ALargePieceIsCutAtItsLines) {
  auto log = Open(10, 3);
  log->Append("aaaa\nbbbb\ncccc\ndd");
  EXPECT_EQ(Content(".1"), "aaaa\nbbbb\n");
  EXPECT_EQ(Content(), "cccc\ndd");
}

TEST_F(LogFileTest, ALineThatIsLongerThanAFileIsCut) {
  auto log = Open(10, 9);
  log->Append(std::string(25, 'x'));
  EXPECT_EQ(Content(".2"), std::string(10, 'x'));
  EXPECT_EQ(Content(".1"), std::string(10, 'x'));
  EXPECT_EQ(Content(), std::string(5, 'x'));
}

TEST_F(LogFileTest, WithoutOlderFilesTheOneBeginsAnew) {
  auto log = Open(10, 0);
  log->Append("one\ntwo\n");
  log->Append("three\n");
  EXPECT_EQ(Content(), "three\n");
  EXPECT_FALSE(Exists(".1"));
}

TEST_F(LogFileTest, ReadsAPipeToItsEnd) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
  FileDescriptor in(fds[0]), out(fds[1]);
  auto log = Open(0, 0);
  EXPECT_TRUE(log->ReadFrom(in.get())) << "nothing there yet";
  ASSERT_EQ(write(out.get(), "text", 4), 4);
  EXPECT_TRUE(log->ReadFrom(in.get()));
  out.Reset();
  EXPECT_FALSE(log->ReadFrom(in.get()));
  EXPECT_EQ(Content(), "text");
}

TEST_F(LogFileTest, AFullDiskLosesTextButNothingElse) {
  path_ = "/dev/full";
  auto log = Open(0, 0);
  log->Append("lost");
  EXPECT_EQ(log->dropped_bytes(), 4u);
}

TEST_F(LogFileTest, WhenItCannotBeTurnedOverItGrows) {
  auto log = Open(10, 1);
  log->Append("0123456\n");
  std::filesystem::remove_all(directory_);  // neither renamed nor made anew
  log->Append("789\nmore\n");
  EXPECT_EQ(log->dropped_bytes(), 0u);
}

TEST_F(LogFileTest, SaysWhyItCannotBeOpened) {
  const auto log = LogFile::Open({directory_ + "/none/log", 0, 0});
  EXPECT_EQ(log.status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace im::agent
