#include "orchestrator/histogram.h"

#include <algorithm>
#include <chrono>

namespace im::orchestrator {

const std::array<Duration, Histogram::kBounds>& Histogram::Bounds() {
  static const auto bounds = [] {
    std::array<Duration, kBounds> all;
    Duration decade = std::chrono::microseconds(10);
    for (size_t i = 0; i < kBounds; i += 3, decade *= 10) {
      all[i] = decade;
      all[i + 1] = 2 * decade;
      all[i + 2] = 5 * decade;
    }
    return all;
  }();
  return bounds;
}

void Histogram::Add(Duration value) {
  value = std::max(value, Duration(0));
  const auto& bounds = Bounds();
  ++buckets_[static_cast<size_t>(std::lower_bound(bounds.begin(), bounds.end(), value) -
                                 bounds.begin())];
  ++count_;
  sum_ += value;
}

uint64_t Histogram::CountUpTo(size_t i) const {
  uint64_t sum = 0;
  for (size_t bucket = 0; bucket <= i; ++bucket) sum += buckets_[bucket];
  return sum;
}

}  // namespace im::orchestrator
