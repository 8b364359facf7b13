#include "bench/plot.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "bench/markup.h"

namespace im::bench {
namespace {

// Pixels: names to the left, bars, values to the right.
constexpr int kNamesWidth = 250;
constexpr int kBarsWidth = 380;
constexpr int kValuesWidth = 170;
constexpr int kWidth = kNamesWidth + kBarsWidth + kValuesWidth;
constexpr int kRowHeight = 24;
constexpr int kBarHeight = 14;
// Of files, above and below the bars.
constexpr int kTitleHeight = 34;
constexpr int kGroupHeight = 26;
constexpr int kScaleHeight = 28;
constexpr int kNotesHeight = 22;

// A scale ends at the most that was seen, but not beyond so many times the largest
// median: one stray sample would make all bars unreadable. Its line is cut there.
constexpr double kMostByMedian = 2.5;

// Of ways, by turns; the second one is for dark pages.
constexpr const char* kColours[][2] = {
    {"#2457c5", "#6f9cff"}, {"#d1622b", "#f0905f"}, {"#1f8a5b", "#4fc08d"},
    {"#8a4fbf", "#b98aea"}, {"#a67c12", "#d9b45a"}, {"#2b8fa6", "#5fc7dc"},
    {"#c23b6b", "#ee7ba3"}, {"#6b7280", "#a3abb8"}, {"#7a5a3a", "#b8977a"},
    {"#4b6b2b", "#92b56a"}};
constexpr size_t kColoursCount = sizeof kColours / sizeof kColours[0];

double X(double value, double most) {
  return kNamesWidth + std::clamp(value / most, 0.0, 1.0) * kBarsWidth;
}

// `most`: where the scale ends.
std::string Bar(const Row& row, double middle, double most, const std::string& css_class,
                const std::string& unit) {
  const Samples& samples = row.samples;
  const double median = samples.Median();
  const bool cut = samples.Max() > most;
  return absl::StrCat(
      absl::StrFormat("<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>", kNamesWidth - 8,
                      middle + 4, EscapeMarkup(row.way)),
      absl::StrFormat(
          "<rect class=\"%s\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\">"
          "<title>%s</title></rect>",
          css_class, kNamesWidth, middle - kBarHeight / 2.0, X(median, most) - kNamesWidth,
          kBarHeight,
          absl::StrFormat("%s to %s, %d %s", ShortNumber(samples.Min()),
                          ShortNumber(samples.Max()), samples.count(),
                          samples.count() == 1 ? "sample" : "samples")),
      absl::StrFormat("<path class=\"range\" d=\"M%.1f %.1fv6m0-3H%.1f%s\"/>",
                      X(samples.Min(), most), middle - 3, X(samples.Max(), most),
                      cut ? "m-4-3l4 3l-4 3" : "m0-3v6"),
      absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\">%s%s%s</text>\n",
                      X(samples.Max(), most) + 6, middle + 4, ShortNumber(median),
                      unit.empty() ? "" : " " + EscapeMarkup(unit),
                      cut ? absl::StrCat(" (to ", ShortNumber(samples.Max()), ")") : ""));
}

double MostOf(const std::vector<const Row*>& rows) {
  double most = 0, largest_median = 0;
  for (const Row* row : rows) {
    most = std::max(most, row->samples.Max());
    largest_median = std::max(largest_median, row->samples.Median());
  }
  if (largest_median > 0) most = std::min(most, kMostByMedian * largest_median);
  return most > 0 ? most : 1;
}

// ---- files -------------------------------------------------------------------

std::string UnitText(const std::string& unit) { return unit == "us" ? "µs" : unit; }

// Whatever a report says, a name is no path.
std::string Spelled(const std::string& text, char instead) {
  std::string spelled = text;
  for (char& c : spelled) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-') c = instead;
  }
  return spelled;
}

std::string FileName(const std::string& scenario, const std::string& unit) {
  const std::string words = absl::StrReplaceAll(unit, {{"/", "-per-"}, {"%", "percent"}});
  return absl::StrCat(Spelled(scenario, '_'), "_", Spelled(words, '-'), ".svg");
}

// 1, 2 or 5 times a power of ten, so that there are at most five steps.
double StepOf(double most) {
  const double power = std::pow(10, std::floor(std::log10(most / 5)));
  for (const double factor : {1, 2, 5}) {
    if (factor * power * 5 >= most) return factor * power;
  }
  return 10 * power;
}

std::string StepText(double value, double step) {
  if (step >= 1) return value < 100 ? absl::StrFormat("%.0f", value) : ShortNumber(value);
  return absl::StrFormat("%.*f", static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), value);
}

std::string Style() {
  const auto colours = [](int dark) {
    std::string css = dark == 0
                          ? ".paper{fill:#fff}text{fill:#1b1f24}.soft{fill:#5b6472}"
                            ".range{stroke:#1b1f24}.grid{stroke:#d8dce2}"
                          : ".paper{fill:#15181c}text{fill:#e6e8eb}.soft{fill:#9aa3b0}"
                            ".range{stroke:#e6e8eb}.grid{stroke:#333a44}";
    for (size_t i = 0; i < kColoursCount; ++i) {
      absl::StrAppend(&css, ".w", i, "{fill:", kColours[i][dark], "}");
    }
    return css;
  };
  return absl::StrCat(
      "<style>text{font:12px system-ui,sans-serif}.title{font-size:15px;font-weight:600}"
      ".group{font-weight:600}.range{fill:none;stroke-width:1.2}\n",
      colours(0), "\n@media (prefers-color-scheme:dark){", colours(1), "}</style>\n");
}

std::string Text(double x, double y, const std::string& css_class, const std::string& text) {
  return absl::StrFormat("<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", css_class, x, y,
                         EscapeMarkup(text));
}

// Vertical lines at round numbers, behind the bars, and what they stand for.
std::string Scale(double top, double bottom, double most) {
  std::string svg;
  const double step = StepOf(most);
  for (int i = 0; i * step <= most * 1.0001; ++i) {
    const double x = X(i * step, most);
    absl::StrAppend(
        &svg,
        absl::StrFormat("<path class=\"grid\" d=\"M%.1f %.1fV%.1f\"/>"
                        "<text class=\"soft\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">"
                        "%s</text>\n",
                        x, top, bottom, x, bottom + 14, StepText(i * step, step)));
  }
  return svg;
}

std::string Notes(const std::vector<const Row*>& rows) {
  size_t least = rows.front()->samples.count(), most = least;
  for (const Row* row : rows) {
    least = std::min(least, row->samples.count());
    most = std::max(most, row->samples.count());
  }
  return absl::StrCat("Bars: medians. Lines: from the least to the most. Samples: ", least,
                      least == most ? "" : absl::StrCat(" to ", most), ".");
}

// `colours`: of ways.
std::string ToSvg(const std::string& scenario, const std::vector<const Row*>& rows,
                  const std::map<std::string, size_t>& colours) {
  const std::string& unit = rows.front()->unit;
  const std::vector<RowGroup> groups = GroupRows(rows, [](const Row& row) { return row.what; });
  const double most = MostOf(rows);
  const double bottom = kTitleHeight + kGroupHeight * static_cast<double>(groups.size()) +
                        kRowHeight * static_cast<double>(rows.size());
  const int height = static_cast<int>(bottom) + kScaleHeight + kNotesHeight;
  const std::string title = absl::StrCat(scenario, ": ", UnitText(unit),
                                         MoreIsBetter(unit) ? " (more is better)"
                                                            : " (less is better)");
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
      "role=\"img\">\n<title>%s</title>\n",
      kWidth, height, kWidth, height, EscapeMarkup(title));
  absl::StrAppend(
      &svg, Style(),
      absl::StrFormat("<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n", kWidth, height),
      Text(12, 22, "title", title), Scale(kTitleHeight, bottom, most));
  double y = kTitleHeight;
  for (const RowGroup& group : groups) {
    absl::StrAppend(&svg, Text(12, y + 18, "group", group.key));
    y += kGroupHeight;
    for (const Row* row : group.rows) {
      absl::StrAppend(&svg, Bar(*row, y + kRowHeight / 2.0, most,
                                absl::StrCat("w", colours.at(row->way) % kColoursCount), ""));
      y += kRowHeight;
    }
  }
  return absl::StrCat(svg, Text(12, height - 8, "soft", Notes(rows)), "</svg>\n");
}

}  // namespace

std::string PlotForPage(const std::vector<const Row*>& rows) {
  const double most = MostOf(rows);
  std::string svg = absl::StrFormat("<svg viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\">\n",
                                    kWidth, kRowHeight * static_cast<int>(rows.size()), kWidth);
  for (size_t i = 0; i < rows.size(); ++i) {
    absl::StrAppend(&svg, Bar(*rows[i], kRowHeight * (static_cast<double>(i) + 0.5), most,
                              IsOurs(rows[i]->way) ? "ours" : "other", rows[i]->unit));
  }
  return svg + "</svg>\n";
}

std::vector<PlotFile> PlotFiles(const Report& report, const std::vector<std::string>& scenarios) {
  std::vector<const Row*> wanted;
  for (const Row& row : report.rows) {
    const bool named =
        std::find(scenarios.begin(), scenarios.end(), row.scenario) != scenarios.end();
    if (named || scenarios.empty()) wanted.push_back(&row);
  }
  std::vector<PlotFile> files;
  for (const auto& [scenario, rows] : GroupRows(wanted, [](const Row& r) { return r.scenario; })) {
    std::map<std::string, size_t> colours;
    for (const Row* row : rows) colours.emplace(row->way, colours.size());
    for (const auto& [unit, plotted] : GroupRows(rows, [](const Row& r) { return r.unit; })) {
      files.push_back({FileName(scenario, unit), ToSvg(scenario, plotted, colours)});
    }
  }
  return files;
}

}  // namespace im::bench
