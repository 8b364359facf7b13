// The order of a run: in `rounds` rounds each scenario comes once, with a part of
// its repetitions. So the scatter of a figure holds what the machine changes
// within the whole run, and not only within the minute of one scenario.

#ifndef IM_BENCH_PLAN_H_
#define IM_BENCH_PLAN_H_

#include <cstddef>
#include <vector>

namespace im::bench {

struct PlannedPart {
  size_t scenario;  // its place in `repeats`
  int round;        // from 1
  int repeat;       // at least 1
};

// `repeats`: of each scenario in all rounds, each at least 1. A scenario of fewer
// repetitions than rounds comes in the first rounds only. Preconditions: rounds >= 1.
std::vector<PlannedPart> PlanRounds(const std::vector<int>& repeats, int rounds);

}  // namespace im::bench

#endif  // IM_BENCH_PLAN_H_
