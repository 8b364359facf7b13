// Histogram: how often something took how long, in fixed buckets.
//
// The buckets are the same for everything that imd measures, so that what one
// dashboard shows can be compared: 1, 2 and 5 of each power of ten from 10 µs
// (below a thaw) to 50 s (above the usual start_timeout), and what is longer.
// Adding costs a search among 21 numbers, and nothing ever grows.

#ifndef IM_ORCHESTRATOR_HISTOGRAM_H_
#define IM_ORCHESTRATOR_HISTOGRAM_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace im::orchestrator {

class Histogram {
 public:
  static constexpr size_t kBounds = 21;
  // Inclusive upper bounds of all buckets but the last.
  static const std::array<Duration, kBounds>& Bounds();

  // A negative one counts as zero.
  void Add(Duration value);

  // Values of at most Bounds()[i]; i == kBounds: all of them.
  uint64_t CountUpTo(size_t i) const;
  uint64_t count() const { return count_; }
  Duration sum() const { return sum_; }

 private:
  std::array<uint64_t, kBounds + 1> buckets_{};
  uint64_t count_ = 0;
  Duration sum_{0};
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_HISTOGRAM_H_
