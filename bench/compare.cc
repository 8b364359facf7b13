#include "bench/compare.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace im::bench {
namespace {

using boost::math::students_t;

// A ratio of zeros says nothing: memory that did not grow is as good as before.
double Ratio(double after, double before) {
  if (before == 0) return after == 0 ? 1 : 1e9;
  return after / before;
}

// Of the logarithms of samples.
struct Logs {
  explicit Logs(const Samples& samples) : count(static_cast<double>(samples.count())) {
    for (const double value : samples.values()) mean += std::log(value) / count;
    for (const double value : samples.values())
      error_squared += std::pow(std::log(value) - mean, 2) / (count - 1) / count;
  }
  const double count;
  double mean = 0;
  double error_squared = 0;  // of the mean
};

bool HasLogs(const Row& row) { return row.samples.Min() > 0; }

bool IsZero(const Row& row) { return row.samples.Min() == 0 && row.samples.Max() == 0; }

void Judge(const Row& before, const Row& after, Comparison& result) {
  const Logs was(before.samples), is(after.samples);
  result.before = std::exp(was.mean);
  result.after = std::exp(is.mean);
  result.ratio = Ratio(result.after, result.before);
  const double squared = was.error_squared + is.error_squared;
  // Of samples that are all alike nothing but the rounding is left.
  if (std::sqrt(squared) > result.error) {
    result.error = std::sqrt(squared);
    result.freedom = squared * squared / (std::pow(was.error_squared, 2) / (was.count - 1) +
                                          std::pow(is.error_squared, 2) / (is.count - 1));
  }
  const double off =
      boost::math::quantile(students_t(result.freedom), (1 + kConfidence) / 2) * result.error;
  result.low = result.ratio * std::exp(-off);
  result.high = result.ratio * std::exp(off);
}

Comparison CompareRows(const Row& before, const Row& after) {
  Comparison result{.scenario = before.scenario,
                    .what = before.what,
                    .way = before.way,
                    .unit = before.unit,
                    .before = before.samples.Median(),
                    .after = after.samples.Median()};
  result.ratio = Ratio(result.after, result.before);
  result.low = result.high = result.ratio;
  const bool enough =
      before.samples.count() >= kSamplesMin && after.samples.count() >= kSamplesMin;
  const bool logs = HasLogs(before) && HasLogs(after);
  result.judged = enough && (logs || (IsZero(before) && IsZero(after)));
  if (enough && logs) Judge(before, after, result);
  return result;
}

// Which of them are worse than the bound, certain for all together.
std::vector<bool> BeyondBound(const std::vector<Comparison>& comparisons, double bound) {
  std::vector<std::pair<double, size_t>> by_chance;
  for (size_t i = 0; i < comparisons.size(); ++i)
    if (comparisons[i].judged) by_chance.emplace_back(comparisons[i].ByChance(bound), i);
  std::sort(by_chance.begin(), by_chance.end());
  std::vector<bool> beyond(comparisons.size());
  double left = static_cast<double>(by_chance.size());
  for (const auto& [chance, i] : by_chance) {
    if (chance > (1 - kConfidence) / left) break;
    beyond[i] = true;
    --left;
  }
  return beyond;
}

bool HasOurs(const std::string& way) {
  return absl::StartsWith(way, "im") || absl::StartsWith(way, "embedded") ||
         absl::StrContains(way, "im-tunnel");
}

bool IsSpeed(const std::string& unit) {
  constexpr absl::string_view kSpeeds[] = {"ns", "us", "ms", "s", "s/GB", "Mb/s", "Gb/s", "1/s"};
  return absl::c_linear_search(kSpeeds, unit);
}

std::string ToText(const Agreement& agreement) {
  std::string text = absl::StrFormat(
      "%d figures are the same for all that is certain, %d better, %d worse (of figures that did "
      "not change %.0f are one or the other by chance), %d beyond the bound, %d not judged\n",
      agreement.the_same, agreement.better, agreement.worse,
      (1 - kConfidence) * (agreement.the_same + agreement.better + agreement.worse),
      agreement.beyond, agreement.not_judged);
  if (agreement.of_others > 0) {
    absl::StrAppendFormat(&text,
                          "what has nothing of ours took %.2f times as long (the median of %d "
                          "figures): so much is the machine's\n",
                          agreement.others_slower, agreement.of_others);
  }
  return text;
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

double Comparison::ByChance(double bound) const {
  if (!judged) return 1;
  const double loss = MoreIsBetter(unit) ? -std::log(ratio) : std::log(ratio);
  const double allowed = MoreIsBetter(unit) ? -std::log1p(-std::min(bound, 1.0)) : std::log1p(bound);
  return boost::math::cdf(boost::math::complement(students_t(freedom), (loss - allowed) / error));
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

Agreement Summarize(const std::vector<Comparison>& comparisons, double bound) {
  const std::vector<bool> beyond = BeyondBound(comparisons, bound);
  Agreement result;
  Samples others;
  for (size_t i = 0; i < comparisons.size(); ++i) {
    const Comparison& c = comparisons[i];
    int& count = !c.judged             ? result.not_judged
                 : beyond[i]           ? result.beyond
                 : c.CertainLoss() > 0 ? result.worse
                 : c.CertainGain() > 0 ? result.better
                                       : result.the_same;
    ++count;
    if (!c.judged || HasOurs(c.way) || !IsSpeed(c.unit) || c.before <= 0 || c.after <= 0) continue;
    others.Add(MoreIsBetter(c.unit) ? 1 / c.ratio : c.ratio);
  }
  result.of_others = static_cast<int>(others.count());
  if (others.count() > 0) result.others_slower = others.Median();
  return result;
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
  const std::vector<bool> beyond = BeyondBound(comparisons, bound);
  for (size_t i = 0; i < comparisons.size(); ++i) {
    const Comparison& c = comparisons[i];
    const std::string bounds =
        c.judged ? absl::StrFormat("%.2f - %.2f", c.low, c.high) : "not judged";
    const char* verdict = beyond[i]             ? "  WORSE"
                          : c.CertainLoss() > 0 ? "  worse"
                          : c.CertainGain() > 0 ? "  better"
                                                : "";
    absl::StrAppend(&text,
                    absl::StrFormat("%-*s %10.2f %10.2f %7.2f  %-13s  %s%s\n",
                                    static_cast<int>(widest), name(c), c.before, c.after, c.ratio,
                                    bounds, c.unit, verdict));
  }
  return text + ToText(Summarize(comparisons, bound));
}

}  // namespace im::bench
