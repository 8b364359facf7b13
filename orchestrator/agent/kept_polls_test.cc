#include "orchestrator/agent/kept_polls.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "orchestrator/agent/criu_images.h"
#include "proto/agent.pb.h"

namespace im::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kPoll = 7;
constexpr uint64_t kEpollWait = 232;
constexpr uint64_t kAfterCall = 0x7f0000001002;

std::string Image(uint64_t call, int64_t result, uint64_t timeout) {
  proto::CriuCore core;
  proto::CriuRegisters& registers = *core.mutable_thread_info()->mutable_gpregs();
  registers.set_orig_ax(call);
  registers.set_ax(static_cast<uint64_t>(result));
  registers.set_dx(timeout);
  registers.set_ip(kAfterCall);
  // What we do not know of it: field 1 (a number), field 99 (bytes).
  const std::string message = "\x08\x01" + core.SerializeAsString() + "\x9a\x06\x03xyz";
  const auto size = static_cast<uint32_t>(message.size());
  return "magicmag" + std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + message;
}

proto::CriuRegisters RegistersOf(const std::string& image) {
  proto::CriuCore core;
  const std::vector<absl::string_view> messages = ImageMessages(image);
  EXPECT_EQ(messages.size(), 1u);
  EXPECT_TRUE(core.ParseFromArray(messages[0].data(), static_cast<int>(messages[0].size())));
  return core.thread_info().gpregs();
}

TEST(KeptPollsTest, ThePollIsBegunAnewWithWhatIsLeft) {
  const std::string changed = ContinuePoll(Image(kPoll, -EINTR, 5'000), milliseconds(1'200));
  EXPECT_EQ(changed.substr(0, 8), "magicmag");
  const proto::CriuRegisters registers = RegistersOf(changed);
  EXPECT_EQ(registers.ax(), kPoll);
  EXPECT_EQ(registers.ip(), kAfterCall - 2);
  EXPECT_EQ(registers.dx(), 3'800u);
  EXPECT_EQ(registers.orig_ax(), kPoll);
}

TEST(KeptPollsTest, AZeroIsWrittenToo) {
  // CRIU has no default for it.
  const proto::CriuRegisters registers =
      RegistersOf(ContinuePoll(Image(kPoll, -EINTR, 5'000), seconds(60)));
  EXPECT_TRUE(registers.has_dx());
  EXPECT_EQ(registers.dx(), 0u);
}

TEST(KeptPollsTest, APollWithoutATimeoutStaysSo) {
  const uint64_t forever = 0xffff'ffff;
  EXPECT_EQ(RegistersOf(ContinuePoll(Image(kPoll, -EINTR, forever), seconds(60))).dx(), forever);
}

TEST(KeptPollsTest, WhatIsUnknownIsKept) {
  const std::string changed = ContinuePoll(Image(kPoll, -EINTR, 1), seconds(1));
  EXPECT_NE(changed.find("\x9a\x06\x03xyz"), std::string::npos);
  EXPECT_NE(changed.find("\x08\x01"), std::string::npos);
}

TEST(KeptPollsTest, OtherThreadsAreLeftAlone) {
  EXPECT_EQ(ContinuePoll(Image(kEpollWait, -EINTR, 5'000), seconds(1)), "");
  EXPECT_EQ(ContinuePoll(Image(kPoll, 1, 5'000), seconds(1)), "");
  EXPECT_EQ(ContinuePoll("", seconds(1)), "");
  EXPECT_EQ(ContinuePoll("magicmag\x04", seconds(1)), "");
}

TEST(KeptPollsTest, AllThreadsOfADirectory) {
  std::string directory = testing::TempDir() + "/pollsXXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  std::ofstream(directory + "/core-2.img") << Image(kPoll, -EINTR, 2'000);
  std::ofstream(directory + "/core-17.img") << Image(kPoll, -EINTR, 3'000);
  const std::string other = Image(kEpollWait, -EINTR, 4'000);
  std::ofstream(directory + "/core-18.img") << other;
  ContinuePolls(directory, seconds(1));
  const auto read = [&](const char* name) {
    std::stringstream text;
    text << std::ifstream(directory + name).rdbuf();
    return text.str();
  };
  EXPECT_EQ(RegistersOf(read("/core-2.img")).dx(), 1'000u);
  EXPECT_EQ(RegistersOf(read("/core-17.img")).dx(), 2'000u);
  EXPECT_EQ(read("/core-18.img"), other);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace im::agent
