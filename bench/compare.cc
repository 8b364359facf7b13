#include "bench/compare.h"

#include <algorithm>
#include <map>
#include <random>
#include <tuple>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
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
      "%d figures are the same for all that is certain, %d better, %d worse within the bound, %d "
      "beyond it, %d too few to tell\n",
      agreement.the_same, agreement.better, agreement.worse, agreement.beyond, agreement.too_few);
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
  Agreement result;
  Samples others;
  for (const Comparison& c : comparisons) {
    int& count = !c.judged                ? result.too_few
                 : c.CertainLoss() > bound ? result.beyond
                 : c.CertainLoss() > 0     ? result.worse
                 : c.CertainGain() > 0     ? result.better
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
  return text + ToText(Summarize(comparisons, bound));
}

}  // namespace im::bench
