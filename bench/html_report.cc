#include "bench/html_report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace im::bench {
namespace {

// Pixels of a plot: names to the left, bars, values to the right.
constexpr int kNamesWidth = 250;
constexpr int kBarsWidth = 380;
constexpr int kValuesWidth = 170;
constexpr int kRowHeight = 24;
constexpr int kBarHeight = 14;

constexpr char kHead[] = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>im-bench</title>
<style>
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#667;--paper:#fff;--line:#d8dce2;--ours:#2457c5;--other:#a9b4c4}
@media (prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#9aa3b0;--paper:#15181c;--line:#333a44;--ours:#6f9cff;--other:#566273}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:54rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin:2.5rem 0 .3rem;border-bottom:1px solid var(--line)}h3{font-size:1rem;margin:1.2rem 0 .2rem;font-weight:600}
h3 small{font-weight:400;color:var(--soft)}
svg{display:block;max-width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:var(--ink)}
.ours{fill:var(--ours)}.other{fill:var(--other)}.range{stroke:var(--ink);stroke-width:1.2}
table{border-collapse:collapse;margin:.5rem 0;font-variant-numeric:tabular-nums}td,th{padding:.15rem .7rem .15rem 0;text-align:left;border-bottom:1px solid var(--line)}td.n,th.n{text-align:right}
summary{cursor:pointer;color:var(--soft)}
</style></head><body>
<h1>im-bench</h1>
)";

std::string Number(double value) {
  if (value != 0 && std::abs(value) < 0.1) return absl::StrFormat("%.4f", value);
  if (std::abs(value) < 100) return absl::StrFormat("%.2f", value);
  return absl::StrFormat("%.0f", value);
}

// Ours, as against what they are compared with.
bool IsOurs(const std::string& way) {
  return way.rfind("im", 0) == 0 || way.rfind("embedded", 0) == 0;
}

std::string Plot(const std::vector<const Row*>& rows) {
  double most = 0;
  for (const Row* row : rows) most = std::max(most, row->samples.Max());
  if (most <= 0) most = 1;
  const auto x = [&](double value) {
    return kNamesWidth + std::max(0.0, value) / most * kBarsWidth;
  };
  const int width = kNamesWidth + kBarsWidth + kValuesWidth;
  const int height = kRowHeight * static_cast<int>(rows.size());
  std::string svg = absl::StrFormat("<svg viewBox=\"0 0 %d %d\" width=\"%d\" role=\"img\">\n",
                                    width, height, width);
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& row = *rows[i];
    const double middle = kRowHeight * (static_cast<double>(i) + 0.5);
    const double median = row.samples.Median();
    absl::StrAppend(
        &svg,
        absl::StrFormat("<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>", kNamesWidth - 8,
                        middle + 4, EscapeHtml(row.way)),
        absl::StrFormat(
            "<rect class=\"%s\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"><title>%s</title></rect>",
            IsOurs(row.way) ? "ours" : "other", kNamesWidth, middle - kBarHeight / 2.0,
            x(median) - kNamesWidth, kBarHeight,
            absl::StrFormat("%s to %s, %d samples", Number(row.samples.Min()),
                            Number(row.samples.Max()), row.samples.count())),
        absl::StrFormat("<line class=\"range\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                        x(row.samples.Min()), middle, x(row.samples.Max()), middle),
        absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\">%s %s</text>\n",
                        x(row.samples.Max()) + 6, middle + 4, Number(median),
                        EscapeHtml(row.unit)));
  }
  return svg + "</svg>\n";
}

std::string Numbers(const std::vector<const Row*>& rows) {
  std::string table =
      "<details><summary>numbers</summary><table><tr><th>what<th>way<th class=n>median<th "
      "class=n>min<th class=n>max<th>unit<th class=n>samples</tr>\n";
  for (const Row* row : rows) {
    absl::StrAppend(&table, "<tr><td>", EscapeHtml(row->what), "<td>", EscapeHtml(row->way),
                    "<td class=n>", Number(row->samples.Median()), "<td class=n>",
                    Number(row->samples.Min()), "<td class=n>", Number(row->samples.Max()), "<td>",
                    EscapeHtml(row->unit), "<td class=n>", row->samples.count(), "</tr>\n");
  }
  return table + "</table></details>\n";
}

// The values of `key` of all rows, in the order of their first appearance, each
// with its rows.
template <typename Key>
std::vector<std::pair<std::string, std::vector<const Row*>>> GroupBy(
    const std::vector<const Row*>& rows, Key key) {
  std::vector<std::pair<std::string, std::vector<const Row*>>> groups;
  std::map<std::string, size_t> places;
  for (const Row* row : rows) {
    const auto [found, is_new] = places.emplace(key(*row), groups.size());
    if (is_new) groups.push_back({key(*row), {}});
    groups[found->second].second.push_back(row);
  }
  return groups;
}

std::string Facts(const Report& report) {
  const Machine& machine = report.machine;
  std::string text = absl::StrCat(
      "<p>", EscapeHtml(report.began), "<br>", EscapeHtml(machine.cpu), ", ", machine.cpus,
      machine.cpus == 1 ? " processor" : " processors",
      absl::StrFormat(", %.1f GB<br>Linux %s", machine.memory_gb, EscapeHtml(machine.kernel)));
  if (!machine.governor.empty()) {
    absl::StrAppend(&text, ", governor ", EscapeHtml(machine.governor));
  }
  if (!machine.commit.empty()) {
    absl::StrAppend(&text, "<br>Imaginary Machines ", EscapeHtml(machine.commit));
  }
  for (const auto& [name, version] : machine.versions) {
    absl::StrAppend(&text, "<br>", EscapeHtml(name), ": ", EscapeHtml(version));
  }
  return text +
         "</p>\n<p>Bars are medians, lines go from the least to the most that was seen.</p>\n";
}

}  // namespace

std::string EscapeHtml(const std::string& text) {
  return absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

std::string ToHtml(const Report& report) {
  std::string html = kHead + Facts(report);
  std::vector<const Row*> all;
  for (const Row& row : report.rows) all.push_back(&row);
  for (const auto& [scenario, rows] : GroupBy(all, [](const Row& r) { return r.scenario; })) {
    absl::StrAppend(&html, "<h2>", EscapeHtml(scenario), "</h2>\n");
    for (const auto& [what, plotted] :
         GroupBy(rows, [](const Row& r) { return absl::StrCat(r.what, "\n", r.unit); })) {
      const Row& first = *plotted.front();
      absl::StrAppend(&html, "<h3>", EscapeHtml(first.what), " <small>", EscapeHtml(first.unit),
                      MoreIsBetter(first.unit) ? ", more is better" : ", less is better",
                      "</small></h3>\n", Plot(plotted));
    }
    absl::StrAppend(&html, Numbers(rows));
  }
  if (!report.skipped.empty()) {
    absl::StrAppend(&html, "<h2>Left out</h2>\n<ul>\n");
    for (const Skipped& skipped : report.skipped) {
      absl::StrAppend(&html, "<li>", skipped.failed ? "<b>failed</b> " : "",
                      EscapeHtml(skipped.scenario), skipped.what.empty() ? "" : ", ",
                      EscapeHtml(skipped.what), ": ", EscapeHtml(skipped.why), "</li>\n");
    }
    absl::StrAppend(&html, "</ul>\n");
  }
  return html + "</body></html>\n";
}

}  // namespace im::bench
