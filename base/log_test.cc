#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace im {
namespace {

using testing::internal::CaptureStderr;
using testing::internal::GetCapturedStderr;

class LogTest : public testing::Test {
 protected:
  LogTest() { InitLog("imd", LogLevel::kInfo); }
  ~LogTest() override { InitLog("im", LogLevel::kInfo); }
};

TEST_F(LogTest, ALineHasTimeProgramLevelPlaceAndText) {
  CaptureStderr();
  IM_LOG(kWarning, "socket buffer clamped to ", 42, " bytes");
  EXPECT_THAT(GetCapturedStderr(),
              testing::MatchesRegex("[0-9][0-9]:[0-9][0-9]:[0-9][0-9]\\.[0-9][0-9][0-9] imd: W "
                                    "log_test\\.cc:[0-9]+ socket buffer clamped to 42 bytes\n"));
}

TEST_F(LogTest, LessSevereLinesAreNotEvenBuilt) {
  int built = 0;
  const auto text = [&] {
    ++built;
    return "x";
  };
  CaptureStderr();
  IM_LOG(kDebug, text());
  InitLog("imd", LogLevel::kSilent);
  IM_LOG(kError, text());
  EXPECT_EQ(GetCapturedStderr(), "");
  EXPECT_EQ(built, 0);
}

TEST_F(LogTest, OneRecordIsOneLineWhateverItHolds) {
  CaptureStderr();
  IM_LOG(kInfo, "a\nfake line\r\x1b[31m");
  const std::string out = GetCapturedStderr();
  EXPECT_THAT(out, testing::HasSubstr("a fake line  [31m\n"));
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1);
}

TEST_F(LogTest, LinesOfThreadsDoNotMix) {
  CaptureStderr();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([] {
      for (int i = 0; i < 100; ++i) IM_LOG(kInfo, "begin ", std::string(80, 'x'), " end");
    });
  for (auto& thread : threads) thread.join();
  const std::string out = GetCapturedStderr();
  size_t lines = 0;
  for (size_t from = 0, to; (to = out.find('\n', from)) != std::string::npos; from = to + 1) {
    ++lines;
    EXPECT_THAT(out.substr(from, to - from), testing::EndsWith("begin " + std::string(80, 'x') + " end"));
  }
  EXPECT_EQ(lines, 400u);
}

TEST_F(LogTest, ALongProgramNameIsCut) {
  InitLog(std::string(100, 'p'), LogLevel::kInfo);
  CaptureStderr();
  IM_LOG(kInfo, "text");
  EXPECT_THAT(GetCapturedStderr(), testing::HasSubstr(" " + std::string(31, 'p') + ": I "));
}

}  // namespace
}  // namespace im
