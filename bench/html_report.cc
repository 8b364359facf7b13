#include "bench/html_report.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/markup.h"
#include "bench/plot.h"
#include "bench/samples.h"

namespace im::bench {
namespace {

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
.ours{fill:var(--ours)}.other{fill:var(--other)}.range{stroke:var(--ink);stroke-width:1.2;fill:none}
table{border-collapse:collapse;margin:.5rem 0;font-variant-numeric:tabular-nums}td,th{padding:.15rem .7rem .15rem 0;text-align:left;border-bottom:1px solid var(--line)}td.n,th.n{text-align:right}
summary{cursor:pointer;color:var(--soft)}
</style></head><body>
<h1>im-bench</h1>
)";

std::string Numbers(const std::vector<const Row*>& rows) {
  std::string table =
      "<details><summary>numbers</summary><table><tr><th>what<th>way<th class=n>median<th "
      "class=n>min<th class=n>max<th>unit<th class=n>samples</tr>\n";
  for (const Row* row : rows) {
    absl::StrAppend(&table, "<tr><td>", EscapeMarkup(row->what), "<td>", EscapeMarkup(row->way),
                    "<td class=n>", ShortNumber(row->samples.Median()), "<td class=n>",
                    ShortNumber(row->samples.Min()), "<td class=n>", ShortNumber(row->samples.Max()), "<td>",
                    EscapeMarkup(row->unit), "<td class=n>", row->samples.count(), "</tr>\n");
  }
  return table + "</table></details>\n";
}

std::string Facts(const Report& report) {
  const Machine& machine = report.machine;
  std::string text = absl::StrCat(
      "<p>", EscapeMarkup(report.began), "<br>", EscapeMarkup(machine.cpu), ", ", machine.cpus,
      machine.cpus == 1 ? " processor" : " processors",
      absl::StrFormat(", %.1f GB<br>Linux %s", machine.memory_gb, EscapeMarkup(machine.kernel)));
  if (!machine.governor.empty()) {
    absl::StrAppend(&text, ", governor ", EscapeMarkup(machine.governor));
  }
  if (!machine.commit.empty()) {
    absl::StrAppend(&text, "<br>Imaginary Machines ", EscapeMarkup(machine.commit));
  }
  for (const auto& [name, version] : machine.versions) {
    absl::StrAppend(&text, "<br>", EscapeMarkup(name), ": ", EscapeMarkup(version));
  }
  return text +
         "</p>\n<p>Bars are medians, lines go from the least to the most that was seen.</p>\n";
}

}  // namespace

std::string ToHtml(const Report& report) {
  std::string html = kHead + Facts(report);
  std::vector<const Row*> all;
  for (const Row& row : report.rows) all.push_back(&row);
  for (const auto& [scenario, rows] : GroupRows(all, [](const Row& r) { return r.scenario; })) {
    absl::StrAppend(&html, "<h2>", EscapeMarkup(scenario), "</h2>\n");
    for (const auto& [what, plotted] :
         GroupRows(rows, [](const Row& r) { return absl::StrCat(r.what, "\n", r.unit); })) {
      const Row& first = *plotted.front();
      absl::StrAppend(&html, "<h3>", EscapeMarkup(first.what), " <small>", EscapeMarkup(first.unit),
                      MoreIsBetter(first.unit) ? ", more is better" : ", less is better",
                      "</small></h3>\n", PlotForPage(plotted));
    }
    absl::StrAppend(&html, Numbers(rows));
  }
  if (!report.skipped.empty()) {
    absl::StrAppend(&html, "<h2>Left out</h2>\n<ul>\n");
    for (const Skipped& skipped : report.skipped) {
      absl::StrAppend(&html, "<li>", skipped.failed ? "<b>failed</b> " : "",
                      EscapeMarkup(skipped.scenario), skipped.what.empty() ? "" : ", ",
                      EscapeMarkup(skipped.what), ": ", EscapeMarkup(skipped.why), "</li>\n");
    }
    absl::StrAppend(&html, "</ul>\n");
  }
  return html + "</body></html>\n";
}

}  // namespace im::bench
