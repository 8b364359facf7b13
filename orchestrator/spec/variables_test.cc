#include "orchestrator/spec/variables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "orchestrator/spec/test_sources.h"

namespace im::orchestrator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

const SpecSources kSources = FakeSources({}, {{"A", "one"}, {"EMPTY", ""}, {"_b2", "two"}});

std::string Expand(const std::string& text) {
  DiagnosticSink sink("f");
  std::string out = Interpolate(text, {1, 1}, kSources.variable, sink);
  EXPECT_THAT(Lines(sink.TakeErrors()), IsEmpty());
  EXPECT_THAT(Lines(sink.TakeWarnings()), IsEmpty());
  return out;
}

std::vector<std::string> ErrorsOf(const std::string& text) {
  DiagnosticSink sink("f");
  Interpolate(text, {3, 4}, kSources.variable, sink);
  return Lines(sink.TakeErrors());
}

TEST(Interpolate, FillsInVariables) {
  EXPECT_EQ(Expand("no variables"), "no variables");
  EXPECT_EQ(Expand("$A-${A}-$_b2."), "one-one-two.");
  EXPECT_EQ(Expand("$$A $$$$ ${A}$$"), "$A $$ one$");
}

TEST(Interpolate, KnowsDefaults) {
  EXPECT_EQ(Expand("${A:-x} ${EMPTY:-x} ${NONE:-x} ${EMPTY-x}. ${NONE-x}"), "one x x . x");
  EXPECT_EQ(Expand("${NONE:-${NONE2:-${A}}}"), "one");
  EXPECT_EQ(Expand("${NONE:-}"), "");
  EXPECT_EQ(Expand("${A:+x} ${EMPTY:+x}. ${EMPTY+x} ${NONE+x}."), "x . x .");
  EXPECT_EQ(Expand("${A:?must} ${EMPTY?must}."), "one .");
}

TEST(Interpolate, AMissingVariableIsAWarning) {
  DiagnosticSink sink("f");
  EXPECT_EQ(Interpolate("a${NONE}b", {1, 2}, kSources.variable, sink), "ab");
  EXPECT_THAT(Lines(sink.TakeWarnings()),
              ElementsAre("f:1:2: the variable NONE is not set: replaced by nothing (for the "
                          "program's own variable write $$NONE)"));
}

TEST(Interpolate, BadFormsAreErrors) {
  EXPECT_THAT(ErrorsOf("${A"), ElementsAre("f:3:4: \"${\" without its \"}\" (for a dollar sign "
                                           "itself write $$)"));
  EXPECT_EQ(ErrorsOf("cost: 5$").size(), 1u);
  EXPECT_EQ(ErrorsOf("$1").size(), 1u);
  EXPECT_EQ(ErrorsOf("${}").size(), 1u);
  EXPECT_EQ(ErrorsOf("${A!x}").size(), 1u);
  EXPECT_EQ(ErrorsOf("${A:}").size(), 1u);
  EXPECT_THAT(ErrorsOf("${NONE:?ask}"), ElementsAre("f:3:4: the variable NONE must be set: ask"));
}

TEST(Interpolate, NestingAndSizeAreBounded) {
  std::string nested;
  for (int i = 0; i < 50; ++i) nested += "${N:-";
  nested += std::string(50, '}');
  EXPECT_EQ(ErrorsOf(nested).size(), 1u);
  const auto large = FakeSources({}, {{"L", std::string(100'000, 'x')}});
  std::string many;
  for (int i = 0; i < 1'000; ++i) many += "$L";
  DiagnosticSink sink("f");
  EXPECT_LE(Interpolate(many, {1, 1}, large.variable, sink).size(), kInterpolatedBytesMax);
  EXPECT_TRUE(sink.has_errors());
}

TEST(EnvFile, IsRead) {
  DiagnosticSink sink("f");
  EXPECT_THAT(ParseEnvFile("# c\r\n\nA=1\r\nexport B = two words \nC=x # comment\nD='$A # b'\n"
                           "E=\"a\\\"b\\n$A\" # c\nF=${A}\nA=2\nG=\n_b2\nNONE\nx.y-z=1",
                           kSources.variable, sink),
              ElementsAre(Pair("A", "2"), Pair("B", "two words"), Pair("C", "x"),
                          Pair("D", "$A # b"), Pair("E", "a\"b\n1"), Pair("F", "1"), Pair("G", ""),
                          Pair("_b2", "two"), Pair("x.y-z", "1")));
  EXPECT_THAT(Lines(sink.TakeErrors()), IsEmpty());
}

TEST(EnvFile, CannotGrowWithoutEnd) {
  std::string text = "A=" + std::string(1'000, 'x') + "\n";
  for (int i = 0; i < 64; ++i) text += "A=$A$A\n";
  DiagnosticSink sink("f");
  ParseEnvFile(text, kSources.variable, sink);
  EXPECT_TRUE(sink.has_errors());
}

}  // namespace
}  // namespace im::orchestrator
