#include "bench/throughput.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace im::bench {
namespace {

using testing::ElementsAre;
using testing::FieldsAre;

// What, unit, value.
std::vector<std::tuple<std::string, std::string, double>> Rows(const Throughput& throughput,
                                                               const std::string& unit) {
  Table table("race");
  throughput.AddTo(table, "1 flow", "im", unit);
  std::vector<std::tuple<std::string, std::string, double>> rows;
  for (const Row& row : table.Take()) rows.emplace_back(row.what, row.unit, row.samples.Median());
  return rows;
}

TEST(ThroughputTest, TellsProcessorTimeForAGigabyteAndMemory) {
  const Throughput throughput{.gigabits_per_s = 8, .gigabytes = 2, .machine_s = 3,
                              .resident_megabytes = 12};
  EXPECT_THAT(Rows(throughput, "Gb/s"),
              ElementsAre(FieldsAre("1 flow", "Gb/s", 8),
                          FieldsAre("1 flow, processor time", "s/GB", 1.5),
                          FieldsAre("1 flow, memory", "MB", 12)));
}

TEST(ThroughputTest, TheKernelHasNoMemoryOfItsOwnToTell) {
  EXPECT_THAT(Rows({.gigabits_per_s = 0.004, .gigabytes = 0.001, .machine_s = 0.01}, "Mb/s"),
              ElementsAre(FieldsAre("1 flow", "Mb/s", 4),
                          FieldsAre("1 flow, processor time", "s/GB", 10)));
}

}  // namespace
}  // namespace im::bench
