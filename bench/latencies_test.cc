#include "bench/latencies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace im::bench {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::FieldsAre;

constexpr double kHalfABin = 0.0005;

testing::Matcher<double> IsAbout(double us) { return DoubleNear(us, us * kHalfABin); }

TEST(LatenciesTest, PercentilesAreExactToHalfABin) {
  Latencies latencies;
  for (int us = 100'000; us > 0; --us) latencies.Add(us);
  EXPECT_THAT(latencies.Get(), FieldsAre(IsAbout(50'000), IsAbout(99'000), IsAbout(99'900)));
}

TEST(LatenciesTest, OneSlowTripOfAThousandIsBeyondTheLastPercentileAndTwoAreIt) {
  Latencies latencies;
  for (int i = 0; i < 999; ++i) latencies.Add(20);
  latencies.Add(5000);
  EXPECT_THAT(latencies.Get(), FieldsAre(IsAbout(20), IsAbout(20), IsAbout(20)));
  latencies.Add(5000);
  EXPECT_THAT(latencies.Get(), FieldsAre(IsAbout(20), IsAbout(20), IsAbout(5000)));
}

TEST(LatenciesTest, OfFewTripsTheLastPercentileIsTheLongest) {
  Latencies latencies;
  latencies.Add(17.3);
  EXPECT_THAT(latencies.Get(), FieldsAre(17.3, 17.3, 17.3));
}

TEST(LatenciesTest, WhatIsBeyondTheBinsIsTheLeastOrTheMost) {
  Latencies latencies;
  latencies.Add(0);
  latencies.Add(1e12);
  EXPECT_THAT(latencies.Get(), FieldsAre(0, 1e12, 1e12));
}

TEST(LatenciesTest, AnAnswersTripsBecomeThreeRows) {
  const auto percentiles = PercentilesOfAnswer("{\"ok\": true, \"trips_us\": [3, 1, 2.5]}");
  ASSERT_TRUE(percentiles.ok()) << percentiles.status();
  Table table("race");
  percentiles->AddTo(table, "round trip ", "im");
  std::vector<std::string> rows;
  for (const Row& row : table.Take()) {
    rows.push_back(absl::StrCat(row.what, " ", row.way, " ", row.unit));
  }
  EXPECT_THAT(rows, ElementsAre("round trip p50 im us", "round trip p99 im us",
                                "round trip p99.9 im us"));
  EXPECT_THAT(*percentiles, FieldsAre(IsAbout(2.5), IsAbout(3), IsAbout(3)));
}

TEST(LatenciesTest, AnAnswerWithoutTripsIsAnError) {
  for (const char* answer :
       {"", "[]", "{\"ok\": false, \"error\": \"x\"}", "{\"ok\": true}",
        "{\"ok\": true, \"trips_us\": []}", "{\"ok\": true, \"trips_us\": [\"1\"]}"}) {
    EXPECT_FALSE(PercentilesOfAnswer(answer).ok()) << answer;
  }
}

}  // namespace
}  // namespace im::bench
