// A report: the results of one run of im-bench, and what was left out of it.
// As JSON it is the file of --json, which `im-bench compare` reads.

#ifndef IM_BENCH_REPORT_H_
#define IM_BENCH_REPORT_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/machine.h"
#include "bench/samples.h"

namespace im::bench {

// A scenario, or one way of it, that gave no figures. It is never counted as
// zero.
struct Skipped {
  std::string scenario;
  std::string what;
  std::string why;
  bool failed = false;  // it should have worked

  bool operator==(const Skipped&) const = default;
};

struct Report {
  Machine machine;
  std::string began;  // RFC 3339, UTC
  std::vector<Row> rows;
  std::vector<Skipped> skipped;

  bool AnyFailed() const;
  // Of another round: samples of rows that are there are added to them.
  void Add(std::vector<Row> more);
  // Once only, however many rounds say it.
  void Add(const Skipped& more);
};

nlohmann::json ToJson(const Report& report);

// InvalidArgument, naming what is wrong, for what is not such a file.
absl::StatusOr<Report> ParseReport(const std::string& text);

// For a terminal.
std::string ToText(const Report& report);

}  // namespace im::bench

#endif  // IM_BENCH_REPORT_H_
