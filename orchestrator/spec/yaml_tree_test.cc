#include "orchestrator/spec/yaml_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "orchestrator/spec/test_sources.h"

namespace im::orchestrator {
namespace {

std::shared_ptr<const YamlNode> Parse(const std::string& text, DiagnosticSink& sink) {
  return ParseYaml(text, [](std::string value, SourcePosition) { return value; }, sink);
}

TEST(YamlTree, KnowsWhereThingsStand) {
  DiagnosticSink sink("f");
  const auto root = Parse("a: 1\nb:\n  - x\n  - {c: \"d e\", n: ~}\n", sink);
  ASSERT_NE(root, nullptr);
  ASSERT_EQ(root->entries.size(), 2u);
  EXPECT_EQ(root->entries[1].at, (SourcePosition{2, 1}));
  const YamlNode& list = *root->Find("b")->value;
  EXPECT_EQ(list.kind, YamlNode::Kind::kSequence);
  EXPECT_EQ(list.items[0]->at, (SourcePosition{3, 5}));
  const YamlNode& map = *list.items[1];
  EXPECT_EQ(map.Find("c")->value->scalar, "d e");
  EXPECT_EQ(map.Find("c")->value->at, (SourcePosition{4, 9}));
  EXPECT_EQ(map.Find("n")->value->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(map.Find("x"), nullptr);
}

TEST(YamlTree, TheFilterSeesValuesButNotKeys) {
  DiagnosticSink sink("f");
  std::vector<std::string> seen;
  const auto root = ParseYaml("a: b\nc: [d]\n",
                              [&](std::string value, SourcePosition) {
                                seen.push_back(value);
                                return value + "!";
                              },
                              sink);
  EXPECT_THAT(seen, testing::ElementsAre("b", "d"));
  EXPECT_EQ(root->Find("a")->value->scalar, "b!");
}

TEST(YamlTree, AliasesShareAndAreCounted) {
  DiagnosticSink sink("f");
  const auto root = Parse("a: &x [1, 2, 3]\nb: *x\n", sink);
  EXPECT_EQ(root->Find("a")->value, root->Find("b")->value);
  EXPECT_EQ(root->weight, 9u);
}

TEST(YamlTree, TheFirstOfTwoEqualKeysStays) {
  DiagnosticSink sink("f");
  const auto root = Parse("a: 1\na: 2\n", sink);
  ASSERT_NE(root, nullptr);
  EXPECT_EQ(root->Find("a")->value->scalar, "1");
  EXPECT_EQ(sink.TakeErrors().size(), 1u);
}

TEST(YamlTree, DepthIsBounded) {
  DiagnosticSink sink("f");
  EXPECT_NE(Parse(std::string(kYamlDepthMax, '[') + std::string(kYamlDepthMax, ']'), sink),
            nullptr);
  EXPECT_EQ(Parse(std::string(kYamlDepthMax + 1, '[') + std::string(kYamlDepthMax + 1, ']'), sink),
            nullptr);
  EXPECT_THAT(Lines(sink.TakeErrors()),
              testing::ElementsAre("f:1:33: more than 32 levels inside one another"));
}

TEST(YamlTree, AByteOrderMarkIsNoTrouble) {
  DiagnosticSink sink("f");
  const auto root = Parse("\xef\xbb\xbf" "a: 1\n", sink);
  ASSERT_NE(root, nullptr);
  EXPECT_NE(root->Find("a"), nullptr);
}

TEST(Nearest, FindsWhatWasMeant) {
  EXPECT_EQ(Nearest("comand", {"entrypoint", "command", "cpus"}), "command");
  EXPECT_EQ(Nearest("prots", {"ports", "cpus"}), "ports");
  EXPECT_EQ(Nearest("x", {"command"}), "");
  EXPECT_EQ(Nearest("entirely", {"command", "ports"}), "");
  EXPECT_EQ(Nearest("", {"a"}), "a");
}

TEST(Quote, MakesNamesPrintable) {
  EXPECT_EQ(Quote("a\nb\x1b"), "\"a\\nb\\033\"");
  EXPECT_EQ(Quote(std::string(100, 'x')).size(), 60u + 2 + 3);
}

}  // namespace
}  // namespace im::orchestrator
