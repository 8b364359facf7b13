// im-bench: how fast Imaginary Machines is on this machine, beside the same
// thing without it and beside others.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "bench/compare.h"
#include "bench/confinement.h"
#include "bench/html_report.h"
#include "bench/plan.h"
#include "bench/plot.h"
#include "bench/progress.h"
#include "bench/report.h"
#include "bench/report_keeper.h"
#include "bench/scenario.h"

namespace im::bench {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitBadInput = 2;
constexpr double kQuickDurationS = 0.3;
constexpr int kQuickRepeat = 2;
constexpr int kRounds = 3;

struct RunArguments {
  std::vector<std::string> scenarios;
  std::vector<std::string> peers;
  std::string json_file;
  std::string html_file;
  int repeat = 0;
  int rounds = kRounds;
  double duration_s = 3;
  bool quick = false;
};

struct CompareArguments {
  std::string before, after;
  double bound_percent = 10;
};

struct PlotArguments {
  std::string results;
  std::string folder = ".";
  std::vector<std::string> scenarios;
};

int Complain(int code, const absl::Status& status) {
  std::fprintf(stderr, "im-bench: %s\n", std::string(status.message()).c_str());
  return code;
}

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

// A file of the caller's that must not turn out to be unwritable after an hour.
class Output {
 public:
  absl::Status Open(const std::string& path) {
    if (path.empty()) return absl::OkStatus();
    path_ = path;
    file_ = FileDescriptor(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    if (!file_.valid()) return ErrnoStatus(path);
    return absl::OkStatus();
  }
  absl::Status Write(const std::string& text) {
    if (!file_.valid()) return absl::OkStatus();
    if (ftruncate(file_.get(), 0) != 0 && errno != EINVAL) return ErrnoStatus(path_);
    for (size_t done = 0; done < text.size();) {
      const ssize_t n = write(file_.get(), text.data() + done, text.size() - done);
      if (n < 0 && errno != EINTR) return ErrnoStatus(path_);
      if (n > 0) done += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  }

 private:
  std::string path_;
  FileDescriptor file_;
};

// One line on a terminal that is drawn again and again; elsewhere a line for
// each part.
class Display {
 public:
  explicit Display(Progress progress) : progress_(std::move(progress)) {}
  ~Display() {
    if (terminal_) std::fprintf(stderr, "\r\033[K");
  }
  void Begin(size_t part, const std::string& name) {
    progress_.Begin(part);
    if (terminal_) {
      Draw();
    } else {
      std::fprintf(stderr, "%s …\n", name.c_str());
    }
  }
  void Set(double share, const std::string& doing) {
    progress_.Set(share, doing);
    if (terminal_) Draw();
  }

 private:
  void Draw() {
    std::fprintf(stderr, "\r\033[K%s", progress_.Line(RealClock().Now()).c_str());
  }
  Progress progress_;
  const bool terminal_ = isatty(STDERR_FILENO) != 0;
};

double ExpectedSeconds(const Scenario& scenario, const RunOptions& options) {
  return scenario.start_s +
         options.repeat * (scenario.repeat_s + scenario.repeat_durations * options.duration_s);
}

int RepeatOf(const Scenario& scenario, const RunArguments& arguments) {
  if (arguments.quick) return kQuickRepeat;
  return arguments.repeat > 0 ? arguments.repeat : scenario.default_repeat;
}

// A run that only shows that all works does so once.
int RoundsOf(const RunArguments& arguments) { return arguments.quick ? 1 : arguments.rounds; }

// `keeper` has the report of all that was measured after each part.
absl::Status Measure(const std::vector<Scenario>& scenarios, const RunArguments& arguments,
                     ReportKeeper& keeper) {
  Report report;
  // Most of what is measured needs TUN devices: without them nothing has failed.
  const bool has_devices = access("/dev/net/tun", R_OK | W_OK) == 0;
  report.began = absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::Now(), absl::UTCTimeZone());
  RunOptions options;
  options.bin = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  options.quick = arguments.quick;
  options.duration_s = arguments.quick ? kQuickDurationS : arguments.duration_s;
  options.peers = arguments.peers;
  report.machine = LookAtMachine(options.bin);
  std::vector<int> repeats;
  for (const Scenario& scenario : scenarios) repeats.push_back(RepeatOf(scenario, arguments));
  const int rounds = RoundsOf(arguments);
  const std::vector<PlannedPart> plan = PlanRounds(repeats, rounds);
  std::vector<Progress::Part> parts;
  for (const PlannedPart& part : plan) {
    const Scenario& scenario = scenarios[part.scenario];
    options.repeat = part.repeat;
    const std::string round = rounds == 1 ? "" : absl::StrCat(" (", part.round, " of ", rounds, ")");
    parts.push_back({scenario.name + round, ExpectedSeconds(scenario, options)});
  }
  Display display(Progress(parts, RealClock().Now()));
  options.progress = [&](double share, const std::string& doing) { display.Set(share, doing); };
  for (size_t i = 0; i < plan.size(); ++i) {
    const Scenario& scenario = scenarios[plan[i].scenario];
    options.repeat = plan[i].repeat;
    options.skip = [&](const std::string& what, const std::string& why, bool failed) {
      const bool excused = failed && !has_devices;
      report.Add(Skipped{scenario.name, what,
                         excused ? why + " (/dev/net/tun cannot be opened here)" : why,
                         failed && !excused});
    };
    display.Begin(i, parts[i].name);
    auto rows = scenario.run(options);
    if (rows.ok()) {
      report.Add(*std::move(rows));
    } else {
      options.skip("", std::string(rows.status().message()), /*failed=*/true);
    }
    IM_RETURN_IF_ERROR(keeper.Keep(report));
  }
  return absl::OkStatus();
}

int Run(const RunArguments& arguments) {
  const auto scenarios = Choose(arguments.scenarios);
  if (!scenarios.ok()) return Complain(kExitBadInput, scenarios.status());
  Output json, html;
  for (const absl::Status& opened : {json.Open(arguments.json_file), html.Open(arguments.html_file)}) {
    if (!opened.ok()) return Complain(kExitBadInput, opened);
  }
  auto keeper = ReportKeeper::Create();
  if (!keeper.ok()) return Complain(kExitFailed, keeper.status());
  const auto code = RunConfined([&] {
    const absl::Status measured = Measure(*scenarios, arguments, *keeper);
    return measured.ok() ? 0 : Complain(kExitFailed, measured);
  });
  if (!code.ok()) return Complain(kExitFailed, code.status());
  // Also of a run that was stopped: all that was measured until then.
  const std::optional<Report> report = keeper->Last();
  if (!report) return *code;
  std::printf("%s", ToText(*report).c_str());
  for (const absl::Status& written :
       {json.Write(ToJson(*report).dump(2) + "\n"), html.Write(ToHtml(*report))}) {
    if (!written.ok()) return Complain(kExitFailed, written);
  }
  return *code == 0 && report->AnyFailed() ? kExitFailed : *code;
}

absl::StatusOr<Report> ReadReport(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  if (!(text << file.rdbuf())) return absl::NotFoundError("cannot read " + path);
  auto report = ParseReport(text.str());
  if (!report.ok()) return Annotate(report.status(), path);
  return report;
}

int CompareFiles(const CompareArguments& arguments) {
  const auto before = ReadReport(arguments.before);
  if (!before.ok()) return Complain(kExitBadInput, before.status());
  const auto after = ReadReport(arguments.after);
  if (!after.ok()) return Complain(kExitBadInput, after.status());
  if (before->machine.cpu != after->machine.cpu) {
    std::fprintf(stderr, "im-bench: the reports are of different processors: %s, %s\n",
                 before->machine.cpu.c_str(), after->machine.cpu.c_str());
  }
  const std::vector<Comparison> comparisons = Compare(*before, *after);
  if (comparisons.empty()) {
    return Complain(kExitBadInput,
                    absl::NotFoundError("the two reports have no figure in common"));
  }
  const double bound = arguments.bound_percent / 100;
  std::printf("%s", ToText(comparisons, bound).c_str());
  return Summarize(comparisons, bound).beyond > 0 ? kExitFailed : 0;
}

int Plot(const PlotArguments& arguments) {
  const auto report = ReadReport(arguments.results);
  if (!report.ok()) return Complain(kExitBadInput, report.status());
  const std::vector<PlotFile> files = PlotFiles(*report, arguments.scenarios);
  if (files.empty()) {
    return Complain(kExitBadInput, absl::NotFoundError("the report has no figures of these"));
  }
  std::error_code ignored;  // what cannot be made cannot be written to
  std::filesystem::create_directories(arguments.folder, ignored);
  for (const PlotFile& file : files) {
    const std::string path = std::filesystem::path(arguments.folder) / file.name;
    Output output;
    absl::Status written = output.Open(path);
    if (written.ok()) written = output.Write(file.svg);
    if (!written.ok()) return Complain(kExitBadInput, written);
    std::printf("%s\n", path.c_str());
  }
  return 0;
}

// Becomes im-microbench, beside us.
int Micro(const std::string& filter) {
  const std::string program =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / "im-microbench";
  const std::string argument = "--benchmark_filter=" + filter;
  execl(program.c_str(), program.c_str(), argument.c_str(), nullptr);
  return Complain(kExitFailed,
                  ErrnoStatus(program + " (it is built where libbenchmark-dev is installed)"));
}

int List() {
  for (const Scenario& s : AllScenarios()) {
    std::printf("%-18s %s\n", s.name.c_str(), s.description.c_str());
  }
  return 0;
}

int Main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  CLI::App app("Measures Imaginary Machines on this machine, beside the same without it.");
  app.require_subcommand(1);
  app.footer("Exit codes: 0 all is well; 1 something failed, or is worse beyond the bound; 2 bad input.");
  RunArguments to_run;
  CompareArguments to_compare;
  CLI::App* list = app.add_subcommand("list", "The scenarios");
  CLI::App* run = app.add_subcommand(
      "run", "Runs scenarios (default: all), in namespaces of its own. What is missing here is "
             "left out, and said");
  run->add_option("scenario", to_run.scenarios, "Names, see list");
  run->add_option("--repeat", to_run.repeat, "Measurements of every way (default: by scenario)")
      ->check(CLI::Range(1, 100'000));
  run->add_option("--rounds", to_run.rounds,
                  "Goes through all scenarios so many times, with a part of the repetitions each: "
                  "the scatter is then that of the whole run")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  run->add_option("--duration", to_run.duration_s, "Seconds of one throughput measurement")
      ->check(CLI::Range(0.05, 3600.0))
      ->capture_default_str();
  run->add_flag("--quick", to_run.quick, "2 short measurements of each: does everything work?");
  run->add_option("--peers", to_run.peers,
                  "Which others to measure beside ours (default: all that are found; 'none')")
      ->delimiter(',');
  run->add_option("--json", to_run.json_file, "Also write the results to this file, for compare");
  run->add_option("--html", to_run.html_file, "Also write a page with plots to this file");
  CLI::App* compare = app.add_subcommand(
      "compare", "How many times as much is each figure of the second report, and how certain is "
                 "that? Exit code 1 if one is worse beyond the bound");
  compare->add_option("before", to_compare.before, "A file of run --json")->required();
  compare->add_option("after", to_compare.after, "Another one")->required();
  compare->add_option("--bound", to_compare.bound_percent, "Percent that a figure may be worse")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  PlotArguments to_plot;
  CLI::App* plot = app.add_subcommand(
      "plot", "Draws what was measured: an SVG file for each scenario and unit, SCENARIO_UNIT.svg");
  plot->add_option("results", to_plot.results, "A file of run --json")->required();
  plot->add_option("scenario", to_plot.scenarios, "Names (default: all that are in it)");
  plot->add_option("--out", to_plot.folder, "The folder for them; it is made")
      ->capture_default_str();
  std::string filter = ".";
  CLI::App* micro = app.add_subcommand(
      "micro", "Micro-benchmarks of inner parts, by Google Benchmark; its own options: im-microbench");
  micro->add_option("filter", filter, "A regular expression of their names (default: all)");
  CLI11_PARSE(app, argc, argv);
  if (list->parsed()) return List();
  if (micro->parsed()) return Micro(filter);
  if (compare->parsed()) return CompareFiles(to_compare);
  if (plot->parsed()) return Plot(to_plot);
  return Run(to_run);
}

}  // namespace
}  // namespace im::bench

int main(int argc, char** argv) { return im::bench::Main(argc, argv); }
