// Seeds (seeds.h) through group_pause_simulation.h.

#include "tests/simulation/group_pause_simulation.h"

#include <gtest/gtest.h>

#include <iostream>

#include "tests/simulation/seeds.h"

namespace im::orchestrator {
namespace {

TEST(GroupPauseSimulationTest, HoldsItsPromisesForEverySeed) {
  const simulation::Seeds seeds = simulation::SeedsToRun(300);
  uint64_t sleeps = 0, long_pauses = 0, ordered_pauses = 0;
  simulation::RunSeeds<GroupPauseSimulation>(seeds, [&](const GroupPauseSimulation& simulation) {
    sleeps += simulation.sleeps();
    long_pauses += simulation.long_pauses();
    ordered_pauses += simulation.ordered_pauses();
  });
  if (seeds.one || HasFailure()) return;
  // The simulation is no good if it does not reach these.
  EXPECT_GT(sleeps, seeds.count);
  EXPECT_GT(long_pauses, seeds.count);
  // That they do not agree is an exception.
  EXPECT_GT(ordered_pauses, long_pauses * 97 / 100);
  std::cout << sleeps << " sleeps; of " << long_pauses << " long pauses of members "
            << ordered_pauses << " in order\n";
}

}  // namespace
}  // namespace im::orchestrator
