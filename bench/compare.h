// Compares two reports: how many times as much is each figure of the second one that
// both have, and how certain is that?
//
// Figures are compared by the logarithms of their samples: their means give the ratio,
// and Welch's t test (Biometrika 34, 1947) the bounds between which it lies with
// kConfidence. Of hundreds of figures that did not change a twentieth lies beyond such
// bounds by chance; so what is called beyond a bound is so for all figures together:
// where nothing changed, not even one is in 19 of 20 comparisons (Holm, Scandinavian
// Journal of Statistics 6, 1979).
//
// What has fewer than kSamplesMin samples on a side, or a zero among them (unless all
// are), is shown and not judged.

#ifndef IM_BENCH_COMPARE_H_
#define IM_BENCH_COMPARE_H_

#include <string>
#include <vector>

#include "bench/report.h"

namespace im::bench {

inline constexpr double kConfidence = 0.95;
inline constexpr size_t kSamplesMin = 3;

struct Comparison {
  std::string scenario, what, way, unit;
  double before = 0, after = 0;  // geometric means; medians where it is not judged
  double ratio = 0;              // after / before
  double low = 0, high = 0;      // where the ratio lies
  bool judged = false;           // low, high, error and freedom mean something
  double error = 1e-9;           // the standard error of the ratio's logarithm; never less
  double freedom = 1;            // degrees of it
  // The change for the worse that is certain of this figure, as a share: 0.1 if it is
  // at least a tenth slower, or needs a tenth more. 0: none is.
  double CertainLoss() const;
  double CertainGain() const;
  // How likely it looks so bad, or worse, by chance if its change for the worse is no more
  // than `bound`.
  double ByChance(double bound) const;
};

// In the order of `before`; what only one of them has is left out. The same
// input gives the same result.
std::vector<Comparison> Compare(const Report& before, const Report& after);

// How far two reports agree, in figures. `bound`: a share, as of a CertainLoss.
struct Agreement {
  int the_same = 0;  // for all that is certain
  int better = 0;
  int worse = 0;   // and not beyond
  int beyond = 0;  // worse than the bound, certain for all figures together
  int not_judged = 0;
  // How many times as slow the ways were that have nothing of ours (plain veth, other
  // tunnels, libraries), the median of so many figures of speed: what changed is the
  // machine. 0: there are none.
  double others_slower = 0;
  int of_others = 0;
};
Agreement Summarize(const std::vector<Comparison>& comparisons, double bound);

// For a terminal; what is beyond the bound is marked. The last lines are the Agreement.
std::string ToText(const std::vector<Comparison>& comparisons, double bound);

}  // namespace im::bench

#endif  // IM_BENCH_COMPARE_H_
