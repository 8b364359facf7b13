#include "bench/report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace im::bench {
namespace {

using testing::HasSubstr;

Report Sample() {
  Report report;
  report.began = "2026-01-02T03:04:05Z";
  report.machine.cpu = "a processor";
  report.rows.push_back({"race", "speed", "hare", "m/s", Samples({3, 1, 2})});
  report.skipped.push_back({"race", "tortoise", "it is asleep", false});
  return report;
}

TEST(ReportTest, WhatWasWrittenIsReadBack) {
  const auto read = ParseReport(ToJson(Sample()).dump());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->began, "2026-01-02T03:04:05Z");
  EXPECT_EQ(read->machine.cpu, "a processor");
  ASSERT_EQ(read->rows.size(), 1u);
  EXPECT_EQ(read->rows[0].way, "hare");
  EXPECT_EQ(read->rows[0].samples.values(), (std::vector<double>{3, 1, 2}));
}

TEST(ReportTest, WhatIsNoReportIsRefusedWithTheReason) {
  for (const auto& [text, reason] : std::vector<std::pair<std::string, std::string>>{
           {"", "not a report"},
           {"[]", "not a report"},
           {R"({"results": 1})", "not a report"},
           {R"({"results": [1]})", "not an object"},
           {R"({"results": [{"scenario": "a"}]})", "'what'"},
           {R"({"results": [{"scenario": "a", "what": "b", "way": "c", "unit": "d"}]})",
            "no 'values'"},
           {R"({"results": [{"scenario": "a", "what": "b", "way": "c", "unit": "d", "values": []}]})",
            "no 'values'"},
           {R"({"results": [{"scenario": "a", "what": "b", "way": "c", "unit": "d", "values": ["x"]}]})",
            "no number"},
       }) {
    const auto read = ParseReport(text);
    ASSERT_FALSE(read.ok()) << text;
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(reason));
  }
}

TEST(ReportTest, WhatIsMissingIsSaidAndNotCountedAsZero) {
  Report report = Sample();
  EXPECT_THAT(ToText(report), HasSubstr("skipped race, tortoise: it is asleep"));
  EXPECT_FALSE(report.AnyFailed());
  report.skipped[0].failed = true;
  EXPECT_TRUE(report.AnyFailed());
  EXPECT_THAT(ToText(report), HasSubstr("FAILED  race, tortoise"));
}

}  // namespace
}  // namespace im::bench
