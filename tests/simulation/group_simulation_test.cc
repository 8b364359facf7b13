// Seeds through group_simulation.h. A failure prints its seed; IM_SIM_SEED=n
// runs that one alone, IM_SIM_SEEDS=n so many.

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "tests/simulation/group_simulation.h"

namespace im::orchestrator {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(GroupSimulationTest, HoldsItsPromisesForEverySeed) {
  const uint64_t one = FromEnvironment("IM_SIM_SEED", 0);
  const uint64_t first = one != 0 ? one : 1;
  const uint64_t last = one != 0 ? one : FromEnvironment("IM_SIM_SEEDS", 300);
  uint64_t sleeps = 0, long_pauses = 0, ordered_pauses = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    GroupSimulation simulation(seed);
    simulation.RunAll();
    ASSERT_FALSE(simulation.failed()) << "IM_SIM_SEED=" << seed << ": " << simulation.failure();
    sleeps += simulation.sleeps();
    long_pauses += simulation.long_pauses();
    ordered_pauses += simulation.ordered_pauses();
  }
  if (one != 0) return;
  // The simulation is no good if it does not reach these.
  EXPECT_GT(sleeps, last);
  EXPECT_GT(long_pauses, last);
  // That they do not agree is an exception.
  EXPECT_GT(ordered_pauses, long_pauses * 97 / 100);
  std::cout << sleeps << " sleeps; of " << long_pauses << " long pauses of members "
            << ordered_pauses << " in order\n";
}

}  // namespace
}  // namespace im::orchestrator
