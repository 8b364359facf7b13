#include "bench/report.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace im::bench {
namespace {

using nlohmann::json;

json ToJson(const Row& row) {
  return {{"scenario", row.scenario},
          {"what", row.what},
          {"way", row.way},
          {"unit", row.unit},
          {"samples", row.samples.count()},
          {"median", row.samples.Median()},
          {"min", row.samples.Min()},
          {"max", row.samples.Max()},
          {"p90", row.samples.Percentile(90)},
          {"p99", row.samples.Percentile(99)},
          {"p99.9", row.samples.Percentile(99.9)},
          {"values", row.samples.values()}};
}

absl::StatusOr<Row> ParseRow(const json& from) {
  const auto bad = [](const std::string& what) {
    return absl::InvalidArgumentError("results: " + what);
  };
  if (!from.is_object()) return bad("a result is not an object");
  Row row;
  for (const auto& [key, field] : {std::pair("scenario", &row.scenario), {"what", &row.what},
                                   {"way", &row.way}, {"unit", &row.unit}}) {
    if (!from.contains(key) || !from[key].is_string()) {
      return bad(absl::StrCat("a result has no text '", key, "'"));
    }
    *field = from[key].get<std::string>();
  }
  if (!from.contains("values") || !from["values"].is_array() || from["values"].empty()) {
    return bad(absl::StrCat(row.scenario, ", ", row.what, ", ", row.way, " has no 'values'"));
  }
  for (const json& value : from["values"]) {
    if (!value.is_number()) return bad(row.scenario + " has a value that is no number");
    row.samples.Add(value.get<double>());
  }
  return row;
}

template <typename Number>
Number NumberOf(const json& object, const char* key) {
  const bool there = object.is_object() && object.contains(key) && object[key].is_number();
  return there ? object[key].get<Number>() : Number();
}

}  // namespace

bool Report::AnyFailed() const {
  return std::any_of(skipped.begin(), skipped.end(), [](const Skipped& s) { return s.failed; });
}

void Report::Add(std::vector<Row> more) {
  for (Row& row : more) {
    const auto same = std::find_if(rows.begin(), rows.end(), [&row](const Row& there) {
      return there.scenario == row.scenario && there.what == row.what && there.way == row.way &&
             there.unit == row.unit;
    });
    if (same != rows.end()) {
      for (const double value : row.samples.values()) same->samples.Add(value);
      continue;
    }
    // Behind the last of its scenario.
    const auto last = std::find_if(rows.rbegin(), rows.rend(), [&row](const Row& there) {
      return there.scenario == row.scenario;
    });
    rows.insert(last == rows.rend() ? rows.end() : last.base(), std::move(row));
  }
}

void Report::Add(const Skipped& more) {
  if (std::find(skipped.begin(), skipped.end(), more) == skipped.end()) skipped.push_back(more);
}

nlohmann::json ToJson(const Report& report) {
  const Machine& machine = report.machine;
  json all = {{"began", report.began},
              {"machine",
               {{"cpu", machine.cpu},
                {"cpus", machine.cpus},
                {"memory_gb", machine.memory_gb},
                {"kernel", machine.kernel},
                {"governor", machine.governor},
                {"commit", machine.commit},
                {"versions", machine.versions}}},
              {"results", json::array()},
              {"skipped", json::array()}};
  for (const Row& row : report.rows) all["results"].push_back(ToJson(row));
  for (const Skipped& skipped : report.skipped) {
    all["skipped"].push_back({{"scenario", skipped.scenario},
                              {"what", skipped.what},
                              {"why", skipped.why},
                              {"failed", skipped.failed}});
  }
  return all;
}

absl::StatusOr<Report> ParseReport(const std::string& text) {
  const json all = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!all.is_object() || !all.contains("results") || !all["results"].is_array()) {
    return absl::InvalidArgumentError("not a report of im-bench run --json: no 'results'");
  }
  Report report;
  for (const json& result : all["results"]) {
    IM_ASSIGN_OR_RETURN(Row row, ParseRow(result));
    report.rows.push_back(std::move(row));
  }
  const auto text_of = [](const json& object, const char* key) {
    return object.is_object() && object.contains(key) && object[key].is_string()
               ? object[key].get<std::string>()
               : std::string();
  };
  report.began = text_of(all, "began");
  if (all.contains("machine")) {
    report.machine.cpu = text_of(all["machine"], "cpu");
    report.machine.kernel = text_of(all["machine"], "kernel");
    report.machine.commit = text_of(all["machine"], "commit");
    report.machine.governor = text_of(all["machine"], "governor");
    const json& machine = all["machine"];
    report.machine.cpus = NumberOf<int>(machine, "cpus");
    report.machine.memory_gb = NumberOf<double>(machine, "memory_gb");
    if (machine.is_object() && machine.contains("versions") && machine["versions"].is_object()) {
      for (const auto& [program, version] : machine["versions"].items())
        if (version.is_string()) report.machine.versions[program] = version.get<std::string>();
    }
  }
  if (all.contains("skipped") && all["skipped"].is_array()) {
    for (const json& skipped : all["skipped"]) {
      report.Add(Skipped{text_of(skipped, "scenario"), text_of(skipped, "what"), text_of(skipped, "why"),
                         skipped.is_object() && skipped.contains("failed") &&
                             skipped["failed"] == true});
    }
  }
  return report;
}

std::string ToText(const Report& report) {
  size_t widest_what = 4, widest_way = 3, widest_scenario = 8;
  for (const Row& row : report.rows) {
    widest_scenario = std::max(widest_scenario, row.scenario.size());
    widest_what = std::max(widest_what, row.what.size());
    widest_way = std::max(widest_way, row.way.size());
  }
  const auto line = [&](const std::string& scenario, const std::string& what,
                        const std::string& way) {
    return absl::StrFormat("%-*s  %-*s  %-*s", static_cast<int>(widest_scenario), scenario,
                           static_cast<int>(widest_what), what, static_cast<int>(widest_way), way);
  };
  std::string text = absl::StrCat(
      line("scenario", "what", "way"),
      absl::StrFormat(" %10s %10s %10s  %s\n", "median", "min", "max", "unit (samples)"));
  for (const Row& row : report.rows) {
    absl::StrAppend(&text, line(row.scenario, row.what, row.way),
                    absl::StrFormat(" %10.2f %10.2f %10.2f  %s (%d)\n", row.samples.Median(),
                                    row.samples.Min(), row.samples.Max(), row.unit,
                                    row.samples.count()));
  }
  for (const Skipped& skipped : report.skipped) {
    absl::StrAppend(&text, skipped.failed ? "FAILED  " : "skipped ", skipped.scenario,
                    skipped.what.empty() ? "" : ", ", skipped.what, ": ", skipped.why, "\n");
  }
  return text;
}

}  // namespace im::bench
