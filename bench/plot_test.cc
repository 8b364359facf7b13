#include "bench/plot.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace im::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> Names(const std::vector<PlotFile>& files) {
  std::vector<std::string> names;
  for (const PlotFile& file : files) names.push_back(file.name);
  return names;
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++count;
  return count;
}

// Two scenarios; of the first one two figures of speed and one of time.
Report Races() {
  Report report;
  report.rows.push_back({"race", "uphill", "im hare", "Gb/s", Samples({10, 20, 15})});
  report.rows.push_back({"race", "uphill", "tortoise", "Gb/s", Samples({5, 5, 5})});
  report.rows.push_back({"race", "nap", "tortoise", "us", Samples({7})});
  report.rows.push_back({"race", "downhill", "tortoise", "Gb/s", Samples({2.5})});
  report.rows.push_back({"swim", "crawl", "frog", "1/s", Samples({1})});
  return report;
}

TEST(PlotFiles, IsOneForEachScenarioAndUnit) {
  EXPECT_THAT(Names(PlotFiles(Races())),
              ElementsAre("race_Gb-per-s.svg", "race_us.svg", "swim_1-per-s.svg"));
  EXPECT_THAT(Names(PlotFiles(Races(), {"swim", "nothing"})), ElementsAre("swim_1-per-s.svg"));
}

TEST(PlotFiles, FiguresOfOneUnitShareAScale) {
  const std::string svg = PlotFiles(Races())[0].svg;
  EXPECT_THAT(svg, HasSubstr("race: Gb/s (more is better)"));
  EXPECT_THAT(svg, HasSubstr(">uphill</text>"));
  EXPECT_THAT(svg, HasSubstr(">downhill</text>"));
  EXPECT_THAT(svg, Not(HasSubstr("nap")));
  EXPECT_EQ(Count(svg, "<rect class=\"w"), 3u);
  // Three quarters, a quarter and an eighth of 380, as 20 is the most.
  EXPECT_THAT(svg, HasSubstr("width=\"285.0\""));
  EXPECT_THAT(svg, HasSubstr("width=\"95.0\""));
  EXPECT_THAT(svg, HasSubstr("width=\"47.5\""));
  // From 10 to 20, with an end at each side.
  EXPECT_THAT(svg, HasSubstr("d=\"M440.0 69.0v6m0-3H630.0m0-3v6\""));
  EXPECT_THAT(svg, HasSubstr("Samples: 1 to 3."));
}

TEST(PlotFiles, AWayHasOneColourInAScenario) {
  const auto files = PlotFiles(Races());
  EXPECT_EQ(Count(files[0].svg, "<rect class=\"w0\""), 1u);
  EXPECT_EQ(Count(files[0].svg, "<rect class=\"w1\""), 2u);  // the tortoise
  EXPECT_EQ(Count(files[1].svg, "<rect class=\"w1\""), 1u);
  EXPECT_THAT(files[1].svg, HasSubstr("race: µs (less is better)"));
}

TEST(PlotFiles, AStraySampleIsCutAndSaid) {
  Report report;
  report.rows.push_back({"race", "nap", "im hare", "us", Samples({100, 100, 5000})});
  report.rows.push_back({"race", "nap", "tortoise", "us", Samples({50, 50, 240})});
  const std::string svg = PlotFiles(report)[0].svg;
  EXPECT_THAT(svg, HasSubstr(">100 (to 5,000)<"));
  EXPECT_THAT(svg, HasSubstr(">50.00<"));
  EXPECT_THAT(svg, HasSubstr("width=\"152.0\""));  // 100 of 250, at which the scale ends
}

TEST(PlotFiles, TheSameReportGivesTheSameBytes) {
  const auto first = PlotFiles(Races()), second = PlotFiles(*ParseReport(ToJson(Races()).dump()));
  ASSERT_EQ(first.size(), second.size());
  for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i].svg, second[i].svg);
}

TEST(PlotFiles, AFileStandsAloneInLightAndInDark) {
  const std::string svg = PlotFiles(Races())[0].svg;
  EXPECT_EQ(svg.rfind("<svg xmlns=\"http://www.w3.org/2000/svg\"", 0), 0u);
  EXPECT_EQ(Count(svg, "http"), 1u);
  for (const char* reference : {"src=", "href=", "@import", "url("}) {
    EXPECT_THAT(svg, Not(HasSubstr(reference)));
  }
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme:dark"));
  EXPECT_THAT(svg, HasSubstr("<rect class=\"paper\""));
}

TEST(PlotFiles, WhatAReportSaysIsTextAndNoPath) {
  Report report;
  report.rows.push_back({"../a&b", "<what>", "<way>", "\"x\"", Samples({0})});
  const PlotFile file = PlotFiles(report)[0];
  EXPECT_EQ(file.name, "___a_b_-x-.svg");
  EXPECT_THAT(file.svg, Not(HasSubstr("<way>")));
  EXPECT_THAT(file.svg, HasSubstr("../a&amp;b"));
  EXPECT_THAT(file.svg, Not(HasSubstr("nan")));
}

// The scale's numbers, at each of its lines.
TEST(PlotFiles, AScaleHasRoundNumbersOfAnySize) {
  for (const auto& [value, last] :
       {std::pair(20.0, ">20<"), {0.052, ">0.04<"}, {966183, ">800,000<"}, {3.1, ">3<"},
        {0.31, ">0.3<"}}) {
    Report report;
    report.rows.push_back({"s", "x", "w", "MB", Samples({value})});
    const std::string svg = PlotFiles(report)[0].svg;
    EXPECT_THAT(svg, HasSubstr(last)) << value;
    const size_t lines = Count(svg, "class=\"grid\"");
    EXPECT_GE(lines, 3u) << value;
    EXPECT_LE(lines, 6u) << value;
  }
}

}  // namespace
}  // namespace im::bench
