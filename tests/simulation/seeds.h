// Which seeds run, as the environment says: IM_SIM_SEED=n that one alone, IM_SIM_SEEDS=n so many,
// from IM_SIM_FIRST on. A seed that fails is named, to be run again.

#ifndef IM_TESTS_SIMULATION_SEEDS_H_
#define IM_TESTS_SIMULATION_SEEDS_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>

namespace im::simulation {

inline uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

struct Seeds {
  uint64_t first = 1;
  uint64_t count = 1;
  bool one = false;  // by its number
};

// So many if the environment says nothing.
inline Seeds SeedsToRun(uint64_t count) {
  if (const uint64_t one = FromEnvironment("IM_SIM_SEED", 0); one != 0)
    return {.first = one, .one = true};
  return {.first = FromEnvironment("IM_SIM_FIRST", 1),
          .count = FromEnvironment("IM_SIM_SEEDS", count)};
}

// Runs them until one fails; `add` sees each that did not.
template <typename Simulation, typename Add>
void RunSeeds(const Seeds& seeds, const Add& add) {
  for (uint64_t seed = seeds.first; seed < seeds.first + seeds.count; ++seed) {
    Simulation simulation(seed);
    simulation.RunAll();
    ASSERT_FALSE(simulation.failed()) << "IM_SIM_SEED=" << seed << ": " << simulation.failure();
    add(simulation);
  }
}

}  // namespace im::simulation

#endif  // IM_TESTS_SIMULATION_SEEDS_H_
