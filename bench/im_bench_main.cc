// im-bench: how fast Imaginary Machines is on this machine, beside the same
// thing without it.
//
// Everything happens in a network namespace of its own, made at the start.

#include <sched.h>
#include <signal.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/netlink.h"
#include "bench/scenario.h"

namespace im::bench {
namespace {

void PrintTable(const std::vector<Row>& rows) {
  std::printf("%-12s %-34s %12s %12s %12s  %s\n", "scenario", "way", "median", "min", "max", "unit");
  for (const Row& row : rows) {
    std::printf("%-12s %-34s %12.2f %12.2f %12.2f  %s (%zu)\n", row.scenario.c_str(),
                row.way.c_str(), row.samples.Median(), row.samples.Min(), row.samples.Max(),
                row.unit.c_str(), row.samples.count());
  }
}

std::string CpuModel() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

nlohmann::json ToJson(const std::vector<Row>& rows) {
  utsname kernel{};
  uname(&kernel);
  nlohmann::json report = {{"machine",
                            {{"cpu", CpuModel()},
                             {"cpus", sysconf(_SC_NPROCESSORS_ONLN)},
                             {"kernel", kernel.release}}},
                           {"results", nlohmann::json::array()}};
  for (const Row& row : rows) {
    report["results"].push_back({{"scenario", row.scenario},
                                 {"way", row.way},
                                 {"unit", row.unit},
                                 {"samples", row.samples.count()},
                                 {"median", row.samples.Median()},
                                 {"min", row.samples.Min()},
                                 {"max", row.samples.Max()},
                                 {"p90", row.samples.Percentile(90)},
                                 {"p99", row.samples.Percentile(99)}});
  }
  return report;
}

struct Arguments {
  std::vector<std::string> scenarios;
  std::string json_file;
  int repeat = 0;
  double duration_s = 3;
  bool quick = false;
};

absl::StatusOr<std::vector<Scenario>> Choose(const std::vector<std::string>& names) {
  if (names.empty()) return AllScenarios();
  std::vector<Scenario> chosen;
  for (const std::string& name : names) {
    const auto& all = AllScenarios();
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const Scenario& s) { return s.name == name; });
    if (found == all.end()) {
      return absl::NotFoundError(absl::StrCat("no scenario '", name, "' (see im-bench list)"));
    }
    chosen.push_back(*found);
  }
  return chosen;
}

absl::Status Run(const Arguments& arguments) {
  IM_ASSIGN_OR_RETURN(const std::vector<Scenario> scenarios, Choose(arguments.scenarios));
  if (unshare(CLONE_NEWNET) != 0) {
    return ErrnoStatus("a network namespace for the measurements (run as root)");
  }
  IM_RETURN_IF_ERROR(SetLinkUp("lo"));
  RunOptions options;
  options.bin = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  options.duration_s = arguments.quick ? 0.3 : arguments.duration_s;
  const bool terminal = isatty(STDERR_FILENO);
  options.progress = [&](const std::string& text) {
    if (terminal) std::fprintf(stderr, "\r\033[K%s", text.c_str());
  };
  std::vector<Row> rows;
  for (const Scenario& scenario : scenarios) {
    options.repeat = arguments.quick         ? 2
                     : arguments.repeat > 0 ? arguments.repeat
                                            : scenario.default_repeat;
    auto result = scenario.run(options);
    if (!result.ok()) return Annotate(result.status(), scenario.name);
    rows.insert(rows.end(), result->begin(), result->end());
  }
  if (terminal) std::fprintf(stderr, "\r\033[K");
  PrintTable(rows);
  if (!arguments.json_file.empty()) {
    std::ofstream file(arguments.json_file);
    file << ToJson(rows).dump(2) << "\n";
    if (!file.flush()) return absl::InternalError("cannot write " + arguments.json_file);
  }
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  CLI::App app("Measures Imaginary Machines on this machine, beside the same without it.");
  app.require_subcommand(1);
  Arguments arguments;
  CLI::App* list = app.add_subcommand("list", "the scenarios");
  CLI::App* run = app.add_subcommand("run", "runs scenarios (default: all); needs root");
  run->add_option("scenario", arguments.scenarios, "names, see list");
  run->add_option("--repeat", arguments.repeat, "measurements of every way (default: by scenario)")
      ->check(CLI::Range(1, 100'000));
  run->add_option("--duration", arguments.duration_s, "seconds of one throughput measurement")
      ->check(CLI::Range(0.05, 3600.0))
      ->capture_default_str();
  run->add_flag("--quick", arguments.quick, "2 short measurements of each: does everything work?");
  run->add_option("--json", arguments.json_file, "also write the results to this file");
  CLI11_PARSE(app, argc, argv);
  if (list->parsed()) {
    for (const Scenario& s : AllScenarios()) {
      std::printf("%-12s %s\n", s.name.c_str(), s.description.c_str());
    }
    return 0;
  }
  const absl::Status status = Run(arguments);
  if (!status.ok()) {
    std::fprintf(stderr, "im-bench: %s\n", std::string(status.message()).c_str());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace im::bench

int main(int argc, char** argv) { return im::bench::Main(argc, argv); }
