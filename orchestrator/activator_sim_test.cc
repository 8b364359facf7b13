// Seeds through activator_simulation.h. A failure prints its seed; IM_SIM_SEED=n
// runs that one alone, IM_SIM_SEEDS=n so many.

#include <gtest/gtest.h>

#include <cstdlib>

#include "orchestrator/activator_simulation.h"

namespace im::orchestrator {
namespace {

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(ActivatorSimulationTest, HoldsItsPromisesForEverySeed) {
  const uint64_t one = FromEnvironment("IM_SIM_SEED", 0);
  const uint64_t first = one != 0 ? one : 1;
  const uint64_t last = one != 0 ? one : FromEnvironment("IM_SIM_SEEDS", 5'000);
  uint64_t delivered = 0, refused = 0, cancelled = 0;
  for (uint64_t seed = first; seed <= last; ++seed) {
    ActivatorSimulation simulation(seed);
    simulation.RunAll();
    ASSERT_FALSE(simulation.failed()) << "IM_SIM_SEED=" << seed << ": " << simulation.failure();
    delivered += simulation.delivered();
    refused += simulation.refused();
    cancelled += simulation.cancelled();
  }
  if (one != 0) return;
  // The simulation is no good if it does not reach these.
  EXPECT_GT(delivered, last);
  EXPECT_GT(refused, last);
  EXPECT_GT(cancelled, last / 100);
}

}  // namespace
}  // namespace im::orchestrator
