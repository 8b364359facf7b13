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

bool MoreIsBetter(const std::string& unit) {
  return unit.size() > 2 && unit.compare(unit.size() - 2, 2, "/s") == 0;
}

std::vector<RowGroup> GroupRows(const std::vector<const Row*>& rows,
                                const std::function<std::string(const Row&)>& key) {
  std::vector<RowGroup> groups;
  std::map<std::string, size_t> places;
  for (const Row* row : rows) {
    const auto [found, is_new] = places.emplace(key(*row), groups.size());
    if (is_new) groups.push_back({found->first, {}});
    groups[found->second].rows.push_back(row);
  }
  return groups;
}

void Table::Add(const std::string& what, const std::string& way, const std::string& unit,
                double value) {
  const auto [found, is_new] = places_.emplace(std::pair(what, way), rows_.size());
  if (is_new) rows_.push_back({scenario_, what, way, unit, {}});
  rows_[found->second].samples.Add(value);
}

}  // namespace im::bench
