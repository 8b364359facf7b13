#include "bench/process.h"

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

}  // namespace
}  // namespace im::bench
