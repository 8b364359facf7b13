#include "bench/report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace im::bench {
namespace {

using testing::HasSubstr;

Report Sample() {
  Report report;
  report.began = "2026-01-02T03:04:05Z";
  report.machine = {.cpu = "a processor", .cpus = 2, .memory_gb = 7.5, .kernel = "6.1",
                    .governor = "schedutil", .commit = "abc", .versions = {{"iperf3", "3.18"}}};
  report.rows.push_back({"race", "speed", "hare", "m/s", Samples({3, 1, 2})});
  report.skipped.push_back({"race", "tortoise", "it is asleep", false});
  return report;
}

TEST(ReportTest, WhatWasWrittenIsReadBack) {
  const auto read = ParseReport(ToJson(Sample()).dump());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->began, "2026-01-02T03:04:05Z");
  EXPECT_EQ(ToJson(*read), ToJson(Sample()));
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

TEST(ReportTest, RoundsOfAScenarioBecomeOne) {
  Report report;
  report.Add({{"race", "speed", "hare", "m/s", Samples({3})}, {"sleep", "time", "hare", "s", Samples({9})}});
  report.Add({{"race", "speed", "hare", "m/s", Samples({1, 2})},
              {"race", "speed", "tortoise", "m/s", Samples({0.1})}});
  ASSERT_EQ(report.rows.size(), 3u);
  EXPECT_EQ(report.rows[0].samples.values(), (std::vector<double>{3, 1, 2}));
  EXPECT_EQ(report.rows[1].way, "tortoise");
  EXPECT_EQ(report.rows[2].scenario, "sleep");
  for (int round = 0; round < 3; ++round)
    report.Add(Skipped{"race", "tortoise", round == 2 ? "it has left" : "it is asleep"});
  EXPECT_EQ(report.skipped.size(), 2u);
}

}  // namespace
}  // namespace im::bench
