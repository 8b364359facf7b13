#include "orchestrator/metrics_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace im::orchestrator {
namespace {

using testing::HasSubstr;
using Type = MetricsText::Type;

TEST(MetricsText, WritesFamiliesAndSamples) {
  MetricsText text;
  text.Family("im_hosts", Type::kGauge, "Hosts by state.");
  text.Sample(uint64_t{3}, {{"state", "running"}, {"zone", "a"}});
  text.Family("im_cpu_seconds_total", Type::kCounter, "CPU time.");
  text.Sample(0.25);
  EXPECT_EQ(text.text(),
            "# HELP im_hosts Hosts by state.\n"
            "# TYPE im_hosts gauge\n"
            "im_hosts{state=\"running\",zone=\"a\"} 3\n"
            "# HELP im_cpu_seconds_total CPU time.\n"
            "# TYPE im_cpu_seconds_total counter\n"
            "im_cpu_seconds_total 0.25\n");
}

TEST(MetricsText, EscapesWhatWouldEndAValueOrALine) {
  MetricsText text;
  text.Family("a", Type::kGauge, "one\\two\nthree");
  text.Sample(uint64_t{1}, {{"l", "q\"b\\n\n"}});
  EXPECT_EQ(text.text(),
            "# HELP a one\\\\two\\nthree\n# TYPE a gauge\na{l=\"q\\\"b\\\\n\\n\"} 1\n");
}

TEST(MetricsText, AHistogramIsCumulative) {
  Histogram histogram;
  histogram.Add(std::chrono::microseconds(15));
  histogram.Add(std::chrono::milliseconds(3));
  histogram.Add(std::chrono::minutes(2));
  MetricsText text;
  text.Family("t_seconds", Type::kHistogram, "Time.");
  text.Sample(histogram);
  EXPECT_THAT(text.text(), HasSubstr("t_seconds_bucket{le=\"1e-05\"} 0\n"
                                     "t_seconds_bucket{le=\"2e-05\"} 1\n"));
  EXPECT_THAT(text.text(), HasSubstr("t_seconds_bucket{le=\"0.002\"} 1\n"
                                     "t_seconds_bucket{le=\"0.005\"} 2\n"));
  EXPECT_THAT(text.text(), HasSubstr("t_seconds_bucket{le=\"50\"} 2\n"
                                     "t_seconds_bucket{le=\"+Inf\"} 3\n"
                                     "t_seconds_sum 120.003015\n"
                                     "t_seconds_count 3\n"));
}

TEST(MetricsText, ACountIsExactHoweverLarge) {
  MetricsText text;
  text.Family("a_total", Type::kCounter, "A.");
  text.Sample(UINT64_MAX);
  EXPECT_THAT(text.text(), HasSubstr("a_total 18446744073709551615\n"));
}

}  // namespace
}  // namespace im::orchestrator
