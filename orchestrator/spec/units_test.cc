#include "orchestrator/spec/units.h"

#include <gtest/gtest.h>

#include <string>

namespace im::orchestrator {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(Units, DurationsAreRead) {
  EXPECT_EQ(ParseDuration("5s"), seconds(5));
  EXPECT_EQ(ParseDuration("1m30s"), seconds(90));
  EXPECT_EQ(ParseDuration("500ms"), milliseconds(500));
  EXPECT_EQ(ParseDuration("1.5h"), seconds(5400));
  EXPECT_EQ(ParseDuration("2d"), hours(48));
  EXPECT_EQ(ParseDuration("10us"), microseconds(10));
  EXPECT_EQ(ParseDuration("10µs"), microseconds(10));
  EXPECT_EQ(ParseDuration("1ns"), nanoseconds(1));
  EXPECT_EQ(ParseDuration("0"), Duration(0));
  EXPECT_EQ(ParseDuration("0s"), Duration(0));
}

TEST(Units, WhatIsNoDurationIsRefused) {
  for (const char* text : {"", "5", "s", "5x", "-5s", "5s5", "1e3s", ".5s", "5.s", "1..5s", "5 s",
                           "50d", "999999999999999999999999h", "inf", "nan"}) {
    EXPECT_EQ(ParseDuration(text), std::nullopt) << text;
  }
}

TEST(Units, SizesAreRead) {
  EXPECT_EQ(ParseSize("0"), 0u);
  EXPECT_EQ(ParseSize("1048576"), 1u << 20);
  for (const char* text : {"64m", "64M", "64mb", "64MiB"}) EXPECT_EQ(ParseSize(text), 64u << 20);
  EXPECT_EQ(ParseSize("1.5g"), 3u << 29);
  EXPECT_EQ(ParseSize("2kb"), 2048u);
  EXPECT_EQ(ParseSize("7b"), 7u);
  EXPECT_EQ(ParseSize("1t"), uint64_t{1} << 40);
  for (const char* text : {"", "m", "64q", "-1", "64 m", "99999999999999t"}) {
    EXPECT_EQ(ParseSize(text), std::nullopt) << text;
  }
}

TEST(Units, SharesAreRead) {
  EXPECT_EQ(ParsePermille("2%"), 20u);
  EXPECT_EQ(ParsePermille("0.5%"), 5u);
  EXPECT_EQ(ParsePermille("0%"), 0u);
  EXPECT_EQ(ParsePermille("1000%"), 10'000u);
  for (const char* text : {"", "2", "%", "-1%", "1001%", "2 %"}) {
    EXPECT_EQ(ParsePermille(text), std::nullopt) << text;
  }
}

TEST(Units, DurationsAreWritten) {
  EXPECT_EQ(FormatDuration(Duration(0)), "0s");
  EXPECT_EQ(FormatDuration(nanoseconds(850)), "850ns");
  EXPECT_EQ(FormatDuration(nanoseconds(85'400)), "85.4us");
  EXPECT_EQ(FormatDuration(nanoseconds(85'400), "µ"), "85.4µs");
  EXPECT_EQ(FormatDuration(nanoseconds(999'600)), "1ms");
  EXPECT_EQ(FormatDuration(nanoseconds(4'210'000)), "4.21ms");
  EXPECT_EQ(FormatDuration(milliseconds(480)), "480ms");
  EXPECT_EQ(FormatDuration(milliseconds(1'520)), "1.5s");
  EXPECT_EQ(FormatDuration(milliseconds(9'970)), "10s");
  EXPECT_EQ(FormatDuration(seconds(59)), "59s");
  EXPECT_EQ(FormatDuration(milliseconds(59'700)), "1m");
  EXPECT_EQ(FormatDuration(seconds(90)), "1m30s");
  EXPECT_EQ(FormatDuration(seconds(3600)), "1h");
  EXPECT_EQ(FormatDuration(seconds(3660)), "1h1m");
  EXPECT_EQ(FormatDuration(hours(50)), "2d2h");
  EXPECT_EQ(FormatDuration(-seconds(5)), "-5s");
}

TEST(Units, SizesAreWritten) {
  EXPECT_EQ(FormatSize(0), "0");
  EXPECT_EQ(FormatSize(512), "512B");
  EXPECT_EQ(FormatSize(1536), "1.5K");
  EXPECT_EQ(FormatSize(12u << 20), "12M");
  EXPECT_EQ(FormatSize(1023u << 10), "1.0M");
  EXPECT_EQ(FormatSize(uint64_t{3} << 40), "3.0T");
}

}  // namespace
}  // namespace im::orchestrator
