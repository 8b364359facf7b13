#include "bench/html_report.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace im::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(HtmlReportTest, AFigureIsAPlotWithABarForEachWay) {
  Report report;
  report.rows.push_back({"race", "speed", "im hare", "m/s", Samples({10, 20, 15})});
  report.rows.push_back({"race", "speed", "tortoise", "m/s", Samples({5})});
  report.rows.push_back({"race", "sleep", "im hare", "us", Samples({7})});
  const std::string html = ToHtml(report);
  EXPECT_THAT(html, HasSubstr("<h2>race</h2>"));
  EXPECT_THAT(html, HasSubstr("speed <small>m/s, more is better"));
  EXPECT_THAT(html, HasSubstr("sleep <small>us, less is better"));
  size_t plots = 0;
  for (size_t at = 0; (at = html.find("<svg", at)) != std::string::npos; ++at) ++plots;
  EXPECT_EQ(plots, 2u);
  // Ours is three quarters of the scale, which the fastest sample ends.
  EXPECT_THAT(html, HasSubstr("class=\"ours\" x=\"250\" y=\"5.0\" width=\"285.0\""));
  EXPECT_THAT(html, HasSubstr("class=\"other\" x=\"250\" y=\"29.0\" width=\"95.0\""));
}

TEST(HtmlReportTest, WhatItIsToldIsText) {
  Report report;
  report.machine.cpu = "<script>";
  report.rows.push_back({"a&b", "\"w\"", "<way>", "us", Samples({0})});
  report.skipped.push_back({"s", "peer", "no <file>", true});
  const std::string html = ToHtml(report);
  EXPECT_THAT(html, Not(HasSubstr("<script>")));
  EXPECT_THAT(html, Not(HasSubstr("<way>")));
  EXPECT_THAT(html, HasSubstr("a&amp;b"));
  EXPECT_THAT(html, HasSubstr("<b>failed</b> s, peer: no &lt;file&gt;"));
}

TEST(HtmlReportTest, ItLoadsNothing) {
  Report report;
  report.rows.push_back({"race", "speed", "im", "m/s", Samples({1})});
  const std::string html = ToHtml(report);
  for (const char* reference : {"http:", "https:", "src=", "href=", "@import", "url("}) {
    EXPECT_THAT(html, Not(HasSubstr(reference)));
  }
}

}  // namespace
}  // namespace im::bench
