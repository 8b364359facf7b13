#include "bench/process.h"

#include <signal.h>
#include <unistd.h>

#include <string>

#include "base/file_descriptor.h"
#include "gtest/gtest.h"

namespace im::bench {
namespace {

TEST(ProcessTest, AnswersLineByLine) {
  auto cat = Process::Start({.argv = {"cat"}});
  ASSERT_TRUE(cat.ok());
  EXPECT_EQ(*cat->Ask("one"), "one");
  EXPECT_EQ(*cat->Ask("two"), "two");
  EXPECT_EQ(cat->Finish(), 0);
}

TEST(ProcessTest, TheEndOfTheChildIsToldApartFromALine) {
  auto child = Process::Start({.argv = {"true"}});
  ASSERT_TRUE(child.ok());
  EXPECT_TRUE(absl::IsOutOfRange(child->ReadLine().status()));
}

TEST(ProcessTest, RunCommandNamesTheCommandThatFailed) {
  EXPECT_EQ(*RunCommand({"echo", "a"}), "a\n");
  const auto failed = RunCommand({"sh", "-c", "exit 3"});
  EXPECT_EQ(failed.status().message(), "sh -c exit 3: exit 3");
}

TEST(ProcessTest, EnvironmentIsAdded) {
  EXPECT_EQ(*RunCommand({"sh", "-c", "echo $IM_X"}, {"IM_X=y"}), "y\n");
}

TEST(ProcessTest, WhatOurCallerLeftOpenIsNotInherited) {
  const FileDescriptor left(dup(STDIN_FILENO));  // without close-on-exec
  EXPECT_EQ(*RunCommand({"sh", "-c", "test -e /proc/self/fd/$0 || echo closed",
                         std::to_string(left.get())}),
            "closed\n");
}

TEST(ProcessTest, AServerThatNobodyListensToGoesOn) {
  // More than a pipe holds, a line at a time, then an answer by its end.
  auto server = Process::Start(
      {.argv = {"sh", "-c", "yes | head -c 300000; exit 7"}, .discard_output = true});
  ASSERT_TRUE(server.ok());
  EXPECT_EQ(server->Finish(std::chrono::seconds(20)), 7);
}

TEST(ProcessTest, OneThatDoesNotEndIsEnded) {
  auto child = Process::Start({.argv = {"sh", "-c", "exec sleep 1000"}});
  ASSERT_TRUE(child.ok());
  EXPECT_EQ(child->Finish(std::chrono::milliseconds(20)), 128 + SIGKILL);
}

TEST(ProcessTest, NoAnswerIsAnErrorInTime) {
  auto child = Process::Start({.argv = {"sleep", "1000"}});
  ASSERT_TRUE(child.ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(child->ReadLine(std::chrono::milliseconds(20)).status()));
}

TEST(ProcessTest, ACommandThatTalksForEverIsEnded) {
  const auto result = RunCommand({"yes"}, {}, std::chrono::milliseconds(50));
  EXPECT_TRUE(absl::IsDeadlineExceeded(result.status())) << result.status();
}

}  // namespace
}  // namespace im::bench
