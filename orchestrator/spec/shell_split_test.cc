#include "orchestrator/spec/shell_split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace im::orchestrator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(ShellSplit, SplitsAtSpaces) {
  EXPECT_THAT(*ShellSplit("a  b\tc\nd "), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(*ShellSplit(""), IsEmpty());
  EXPECT_THAT(*ShellSplit("  "), IsEmpty());
}

TEST(ShellSplit, QuotesKeepWordsTogether) {
  EXPECT_THAT(*ShellSplit("nginx -g 'daemon off;'"), ElementsAre("nginx", "-g", "daemon off;"));
  EXPECT_THAT(*ShellSplit("a\"b c\"'d e'f"), ElementsAre("ab cd ef"));
  EXPECT_THAT(*ShellSplit("'' \"\""), ElementsAre("", ""));
}

TEST(ShellSplit, BackslashesEscape) {
  EXPECT_THAT(*ShellSplit(R"(a\ b "x\"y\z" 'n\o')"), ElementsAre("a b", "x\"y\\z", "n\\o"));
  EXPECT_THAT(*ShellSplit("a\\\nb"), ElementsAre("ab"));
  EXPECT_THAT(*ShellSplit("end\\"), ElementsAre("end\\"));
}

TEST(ShellSplit, AQuoteWithoutItsEndIsRefused) {
  EXPECT_FALSE(ShellSplit("a 'b").ok());
  EXPECT_FALSE(ShellSplit("a \"b").ok());
  EXPECT_FALSE(ShellSplit("a \"b\\\"").ok());
}

TEST(ShellSplit, OperatorsAreFound) {
  EXPECT_EQ(ShellOperatorIn({"a", "&&", "b"}), "&&");
  EXPECT_EQ(ShellOperatorIn({"a", ">"}), ">");
  EXPECT_EQ(ShellOperatorIn({"nginx", "-g", "daemon off;"}), "");
}

TEST(ShellJoin, IsTakenApartAgain) {
  const std::vector<std::string> words = {"sh", "-c", "echo \"it's\" $X", "", "a/b:c=d"};
  EXPECT_THAT(*ShellSplit(ShellJoin(words)), testing::ElementsAreArray(words));
  EXPECT_EQ(ShellJoin({"redis-cli", "-h", "db"}), "redis-cli -h db");
}

}  // namespace
}  // namespace im::orchestrator
