#include "orchestrator/cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace im::orchestrator::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(CommandLine, OtherVerbsKeepTheirWords) {
  const CommandLine line = SplitCommandLine({"-c", "shop", "ps", "--json", "--", "x"});
  EXPECT_EQ(line.verb, "ps");
  EXPECT_THAT(line.words, ElementsAre("-c", "shop", "ps", "--json", "--", "x"));
  EXPECT_THAT(line.trailing, IsEmpty());
}

TEST(CommandLine, WhatStandsBehindTheDashesIsThePrograms) {
  const CommandLine run = SplitCommandLine({"run", "--name", "n", "--", "sh", "-c", "a -- b"});
  EXPECT_THAT(run.words, ElementsAre("run", "--name", "n"));
  EXPECT_THAT(run.trailing, ElementsAre("sh", "-c", "a -- b"));
  const CommandLine exec = SplitCommandLine({"exec", "web", "-e", "A=b", "--", "ls", "-l"});
  EXPECT_THAT(exec.words, ElementsAre("exec", "web", "-e", "A=b"));
  EXPECT_THAT(exec.trailing, ElementsAre("ls", "-l"));
}

TEST(CommandLine, TheDashesMayBeLeftOut) {
  const CommandLine run = SplitCommandLine({"-c", "shop", "run", "redis-cli", "-h", "db"});
  EXPECT_THAT(run.words, ElementsAre("-c", "shop", "run"));
  EXPECT_THAT(run.trailing, ElementsAre("redis-cli", "-h", "db"));
  const CommandLine exec = SplitCommandLine({"exec", "-w", "/", "web", "ls", "-l"});
  EXPECT_THAT(exec.words, ElementsAre("exec", "-w", "/", "web"));
  EXPECT_THAT(exec.trailing, ElementsAre("ls", "-l"));
}

TEST(CommandLine, OptionsBeforeTheProgramAreOurs) {
  const CommandLine help = SplitCommandLine({"run", "--help"});
  EXPECT_THAT(help.words, ElementsAre("run", "--help"));
  EXPECT_THAT(help.trailing, IsEmpty());
  EXPECT_THAT(SplitCommandLine({"exec"}).trailing, IsEmpty());
  EXPECT_THAT(SplitCommandLine({"run", "--name"}).words, ElementsAre("run", "--name"));
  EXPECT_EQ(SplitCommandLine({}).verb, "");
}

}  // namespace
}  // namespace im::orchestrator::cli
