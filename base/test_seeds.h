// For tests: how much to try, and the loop over seeds that names the one that
// failed.

#ifndef IM_BASE_TEST_SEEDS_H_
#define IM_BASE_TEST_SEEDS_H_

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace im {

// Whether the long cases were asked for: IM_LONG=1.
inline bool LongTests() {
  const char* const value = std::getenv("IM_LONG");
  return value != nullptr && std::string_view(value) == "1";
}

// Runs seeds 1 to `count`, of long cases to `long_count`, until one fails; with
// IM_SIM_SEED=n that one alone.
inline void ForEachSeed(uint64_t count, uint64_t long_count,
                        const std::function<void(uint64_t seed)>& run) {
  uint64_t first = 1;
  uint64_t last = LongTests() ? long_count : count;
  if (const char* seed = std::getenv("IM_SIM_SEED")) first = last = std::strtoull(seed, nullptr, 10);
  for (uint64_t seed = first; seed <= last && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("IM_SIM_SEED=" + std::to_string(seed));
    run(seed);
  }
}

}  // namespace im

#endif  // IM_BASE_TEST_SEEDS_H_
