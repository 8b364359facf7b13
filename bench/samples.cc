#include "bench/samples.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace im::bench {

double Samples::Percentile(double percent) const {
  IM_CHECK(!values_.empty());
  std::vector<double> sorted = values_;
  std::sort(sorted.begin(), sorted.end());
  const double position = percent / 100 * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(std::floor(position));
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double fraction = position - static_cast<double>(below);
  return sorted[below] + fraction * (sorted[above] - sorted[below]);
}

void Table::Add(const std::string& what, const std::string& way, const std::string& unit,
                double value) {
  const std::string name = what + ", " + way;
  const auto [found, is_new] = places_.emplace(name, rows_.size());
  if (is_new) rows_.push_back({scenario_, name, unit, {}});
  rows_[found->second].samples.Add(value);
}

}  // namespace im::bench
