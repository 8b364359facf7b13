#include "bench/compare.h"

#include <algorithm>
#include <map>
#include <random>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace im::bench {
namespace {

// A ratio of zeros says nothing: memory that did not grow is as good as before.
double Ratio(double after, double before) {
  if (before == 0) return after == 0 ? 1 : 1e9;
  return after / before;
}

double ResampledMedian(const Samples& samples, std::mt19937& random) {
  std::uniform_int_distribution<size_t> any(0, samples.count() - 1);
  Samples drawn;
  for (size_t i = 0; i < samples.count(); ++i) drawn.Add(samples.values()[any(random)]);
  return drawn.Median();
}

Comparison CompareRows(const Row& before, const Row& after) {
  Comparison result{.scenario = before.scenario,
                    .what = before.what,
                    .way = before.way,
                    .unit = before.unit,
                    .before = before.samples.Median(),
                    .after = after.samples.Median()};
  result.ratio = Ratio(result.after, result.before);
  result.judged = before.samples.count() >= kSamplesMin && after.samples.count() >= kSamplesMin;
  std::mt19937 random(1);
  Samples ratios;
  for (int i = 0; i < kResamples; ++i) {
    const double drawn_after = ResampledMedian(after.samples, random);
    ratios.Add(Ratio(drawn_after, ResampledMedian(before.samples, random)));
  }
  const double tail_percent = (1 - kConfidence) / 2 * 100;
  result.low = ratios.Percentile(tail_percent);
  result.high = ratios.Percentile(100 - tail_percent);
  return result;
}

}  // namespace

double Comparison::CertainLoss() const {
  if (!judged) return 0;
  return std::max(0.0, MoreIsBetter(unit) ? 1 - high : low - 1);
}

double Comparison::CertainGain() const {
  if (!judged) return 0;
  return std::max(0.0, MoreIsBetter(unit) ? low - 1 : 1 - high);
}

std::vector<Comparison> Compare(const Report& before, const Report& after) {
  std::map<std::tuple<std::string, std::string, std::string, std::string>, const Row*> rows;
  for (const Row& row : after.rows) rows[{row.scenario, row.what, row.way, row.unit}] = &row;
  std::vector<Comparison> comparisons;
  for (const Row& row : before.rows) {
    const auto found = rows.find({row.scenario, row.what, row.way, row.unit});
    if (found != rows.end()) comparisons.push_back(CompareRows(row, *found->second));
  }
  return comparisons;
}

std::string ToText(const std::vector<Comparison>& comparisons, double bound) {
  size_t widest = 4;
  const auto name = [](const Comparison& c) {
    return absl::StrCat(c.scenario, ", ", c.what, ", ", c.way);
  };
  for (const Comparison& c : comparisons) widest = std::max(widest, name(c).size());
  std::string text =
      absl::StrFormat("%-*s %10s %10s %7s  %-13s  %s\n", static_cast<int>(widest), "what", "before",
                      "after", "ratio", "95 % between", "unit");
  for (const Comparison& c : comparisons) {
    const std::string bounds =
        c.judged ? absl::StrFormat("%.2f - %.2f", c.low, c.high) : "too few";
    const char* verdict = c.CertainLoss() > bound  ? "  WORSE"
                          : c.CertainLoss() > 0 ? "  worse, within the bound"
                          : c.CertainGain() > 0 ? "  better"
                                                : "";
    absl::StrAppend(&text,
                    absl::StrFormat("%-*s %10.2f %10.2f %7.2f  %-13s  %s%s\n",
                                    static_cast<int>(widest), name(c), c.before, c.after, c.ratio,
                                    bounds, c.unit, verdict));
  }
  return text;
}

}  // namespace im::bench
