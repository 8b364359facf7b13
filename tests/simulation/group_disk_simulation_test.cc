// Seeds through group_disk_simulation.h. A failure prints its seed; IM_SIM_SEED=n
// runs that one alone, IM_SIM_SEEDS=n so many.

#include "tests/simulation/group_disk_simulation.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

namespace im::orchestrator {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(GroupDiskSimulationTest, HoldsItsPromisesForEverySeed) {
  const uint64_t one = FromEnvironment("IM_SIM_SEED", 0);
  const uint64_t first = one != 0 ? one : 1;
  const uint64_t last = one != 0 ? one : FromEnvironment("IM_SIM_SEEDS", 500);
  uint64_t times_on_disk = 0, called_off = 0, restores = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    GroupDiskSimulation simulation(seed);
    simulation.RunAll();
    ASSERT_FALSE(simulation.failed()) << "IM_SIM_SEED=" << seed << ": " << simulation.failure();
    times_on_disk += simulation.times_on_disk;
    called_off += simulation.called_off;
    restores += simulation.restores;
  }
  if (one != 0) return;
  // The simulation is no good if it does not reach these.
  EXPECT_GT(times_on_disk, last * 3);
  EXPECT_GT(called_off, last);
  EXPECT_GT(restores, last * 3);
  std::cout << times_on_disk << " times on disk, " << called_off << " members called off, "
            << restores << " restored\n";
}

}  // namespace
}  // namespace im::orchestrator
