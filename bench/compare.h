// Compares two reports: how many times as much is the second one's median of
// each figure that both have, and between which bounds does that ratio lie?
//
// The bounds are a bootstrap's (Efron, percentile method): both sets of samples
// are drawn anew, with repetition, kResamples times, and of the ratios of their
// medians the middle kConfidence are taken. What has fewer than kSamplesMin
// samples on a side is shown, and not judged.

#ifndef IM_BENCH_COMPARE_H_
#define IM_BENCH_COMPARE_H_

#include <string>
#include <vector>

#include "bench/report.h"

namespace im::bench {

inline constexpr int kResamples = 4000;
inline constexpr double kConfidence = 0.95;
inline constexpr size_t kSamplesMin = 3;

struct Comparison {
  std::string scenario, what, way, unit;
  double before = 0, after = 0;  // medians
  double ratio = 0;              // after / before
  double low = 0, high = 0;      // where the ratio lies
  bool judged = false;           // low and high mean something
  // The change for the worse that is certain, as a share: 0.1 if it is at least
  // a tenth slower, or needs a tenth more. 0: none is.
  double CertainLoss() const;
  double CertainGain() const;
};

// In the order of `before`; what only one of them has is left out. The same
// input gives the same result.
std::vector<Comparison> Compare(const Report& before, const Report& after);

// How far two reports agree, in figures. `bound`: a share, as of a CertainLoss.
struct Agreement {
  int the_same = 0;  // for all that is certain
  int better = 0;
  int worse = 0;   // within the bound
  int beyond = 0;  // worse than that
  int too_few = 0;
  // How many times as slow the ways were that have nothing of ours (plain veth, other
  // tunnels, libraries), the median of so many figures of speed: what changed is the
  // machine. 0: there are none.
  double others_slower = 0;
  int of_others = 0;
};
Agreement Summarize(const std::vector<Comparison>& comparisons, double bound);

// For a terminal. `bound`: a certain loss beyond it is marked. The last lines are the
// Agreement.
std::string ToText(const std::vector<Comparison>& comparisons, double bound);

}  // namespace im::bench

#endif  // IM_BENCH_COMPARE_H_
