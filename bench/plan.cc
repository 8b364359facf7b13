#include "bench/plan.h"

#include "base/check.h"

namespace im::bench {

std::vector<PlannedPart> PlanRounds(const std::vector<int>& repeats, int rounds) {
  IM_CHECK(rounds >= 1);
  std::vector<PlannedPart> parts;
  for (int round = 1; round <= rounds; ++round) {
    for (size_t i = 0; i < repeats.size(); ++i) {
      // What does not divide evenly is done first.
      const int repeat = repeats[i] / rounds + (round <= repeats[i] % rounds ? 1 : 0);
      if (repeat > 0) parts.push_back({i, round, repeat});
    }
  }
  return parts;
}

}  // namespace im::bench
