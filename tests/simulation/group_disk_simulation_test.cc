// Seeds (seeds.h) through group_disk_simulation.h.

#include "tests/simulation/group_disk_simulation.h"

#include <gtest/gtest.h>

#include <iostream>

#include "tests/simulation/seeds.h"

namespace im::orchestrator {
namespace {

TEST(GroupDiskSimulationTest, HoldsItsPromisesForEverySeed) {
  const simulation::Seeds seeds = simulation::SeedsToRun(500);
  uint64_t times_on_disk = 0, called_off = 0, restores = 0;
  simulation::RunSeeds<GroupDiskSimulation>(seeds, [&](const GroupDiskSimulation& simulation) {
    times_on_disk += simulation.times_on_disk();
    called_off += simulation.called_off();
    restores += simulation.restores();
  });
  if (seeds.one || HasFailure()) return;
  // The simulation is no good if it does not reach these.
  EXPECT_GT(times_on_disk, seeds.count * 3);
  EXPECT_GT(called_off, seeds.count);
  EXPECT_GT(restores, seeds.count * 3);
  std::cout << times_on_disk << " times on disk, " << called_off << " members called off, "
            << restores << " restored\n";
}

}  // namespace
}  // namespace im::orchestrator
