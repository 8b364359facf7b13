// app_redis, app_http: programs that people use, by their own benchmarks, over
// every way: redis-benchmark's GET and SET, one by one and in pipelines of 16,
// on 50 connections; and nginx asked by wrk for 1 KB, on 50 connections.
//
// Both are closed loops: each connection waits for its answer before it asks
// again. Their percentiles are those of a server that is as busy as it can be.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "bench/latencies.h"
#include "bench/process_figures.h"
#include "bench/scenario.h"
#include "bench/ways.h"

namespace im::bench {
namespace {

constexpr int kRedisPort = 6379;
constexpr int kHttpPort = 8080;
constexpr int kConnections = 50;
constexpr int kHttpBodyBytes = 1024;

// Says what is missing, and that the scenario is left out for it.
bool AllInstalled(const RunOptions& options, const std::vector<std::string>& programs) {
  bool all = true;
  for (const std::string& program : programs) {
    if (IsInstalled(program)) continue;
    options.skip("", program + " is not installed (bench/peers/README.md)", /*failed=*/false);
    all = false;
  }
  return all;
}

Duration Timeout(const RunOptions& options) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options.duration_s)) +
         kAnswerTimeout;
}

// What a benchmark says that it was served.
struct Served {
  double requests = 0;
  double per_second = 0;
  Percentiles latency;
};

// Rows of what `argv` measures at the client's place: requests a second, the machine's
// processor time for one, the memory of who carries them, and percentiles.
absl::Status Measure(const std::vector<std::string>& argv, const RunOptions& options,
                     absl::StatusOr<Served> (*read)(const std::string& text),
                     const std::string& what, const Way& way, Table& table) {
  const double before_s = MachineCpuSeconds();
  IM_ASSIGN_OR_RETURN(const std::string text, way.Run(argv, Timeout(options)));
  const double machine_s = MachineCpuSeconds() - before_s;
  IM_ASSIGN_OR_RETURN(const Served served, read(text));
  if (served.requests <= 0 || served.per_second <= 0 || served.latency.p50_us <= 0 ||
      served.latency.p99_us <= 0 || served.latency.p999_us <= 0) {
    return absl::InternalError(absl::StrCat(argv[0], ": ", text.substr(0, 400)));
  }
  table.Add(what, way.name(), "1/s", served.per_second);
  table.Add(what + ", processor time", way.name(), "us", machine_s * 1e6 / served.requests);
  if (const double memory = way.ResidentMegabytes(); memory > 0) {
    table.Add(what + ", memory", way.name(), "MB", memory);
  }
  served.latency.AddTo(table, what + ", ", way.name());
  return absl::OkStatus();
}

// ---- redis -------------------------------------------------------------------

constexpr const char* kCommands[] = {"GET", "SET"};

struct Pipeline {
  const char* name;
  const char* length;
  int requests_per_second;  // of measurement: about as many as can be served
};
constexpr Pipeline kPipelines[] = {{"", "1", 15'000}, {", pipelines of 16", "16", 150'000}};

// redis-benchmark lists percentiles of its own histogram, finer and finer towards the
// end: "99.902% <= 1.207 milliseconds (cumulative count 4096)". p99.9 is the first that
// is no smaller. Its summary has the others.
double RedisP999Us(absl::string_view text) {
  text = text.substr(std::min(text.find("Latency by percentile"), text.size()));
  for (const auto& line : absl::StrSplit(text, '\n')) {
    std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    double share = 0, ms = 0;
    if (words.size() < 3 || words[1] != "<=" || !absl::ConsumeSuffix(&words[0], "%")) continue;
    if (absl::SimpleAtod(words[0], &share) && share >= 99.9 && absl::SimpleAtod(words[2], &ms)) {
      return ms * 1e3;
    }
  }
  return 0;
}

absl::StatusOr<Served> ReadRedis(const std::string& text) {
  Served served;
  served.latency.p999_us = RedisP999Us(text);
  std::istringstream words(text);
  for (std::string word, before; words >> word; before = word) {
    if (word == "requests" && served.requests == 0) absl::SimpleAtod(before, &served.requests);
    if (word == "summary:" && before == "throughput") words >> served.per_second;
    if (word != "max" || before != "p99") continue;
    double average = 0, least = 0, p50_ms = 0, p95_ms = 0, p99_ms = 0;
    words >> average >> least >> p50_ms >> p95_ms >> p99_ms;
    served.latency.p50_us = p50_ms * 1e3;
    served.latency.p99_us = p99_ms * 1e3;
  }
  return served;
}

absl::StatusOr<std::vector<Row>> RunRedis(const RunOptions& options) {
  if (!AllInstalled(options, {"redis-server", "redis-benchmark"})) return std::vector<Row>();
  const std::string server = absl::StrCat("redis-server --port ", kRedisPort,
                                          " --bind 0.0.0.0 --protected-mode no --save '' "
                                          "--appendonly no");
  IM_ASSIGN_OR_RETURN(const auto ways, Ways::Up(options, {{server, kRedisPort}}));
  Table table("app_redis");
  ways->Measure(options, table, [&](const Way& way, Table& to) -> absl::Status {
    for (const Pipeline& pipeline : kPipelines) {
      const int requests =
          std::max(1000, static_cast<int>(options.duration_s * pipeline.requests_per_second));
      for (const std::string command : kCommands) {
        IM_RETURN_IF_ERROR(Measure({"redis-benchmark", "-h", way.server(), "-p",
                                    absl::StrCat(kRedisPort), "-t", absl::AsciiStrToLower(command),
                                    "-n", absl::StrCat(requests), "-c", absl::StrCat(kConnections),
                                    "-P", pipeline.length},
                                   options, ReadRedis, command + pipeline.name, way, to));
      }
    }
    return absl::OkStatus();
  });
  return table.Take();
}

// ---- HTTP --------------------------------------------------------------------

// What wrk does at its end: it prints p99 at the most by itself. One line: requests, how
// long they took, p50, p99 and p99.9, all in microseconds, and what failed.
constexpr char kWrkScript[] =
    "done = function(summary, latency)\n"
    "  local e = summary.errors\n"
    "  print('result', summary.requests, summary.duration, latency:percentile(50),\n"
    "        latency:percentile(99), latency:percentile(99.9),\n"
    "        e.connect + e.read + e.write + e.status + e.timeout)\n"
    "end\n";

// nginx's configuration: one process, and all that it writes in `folder`; wrk's script.
absl::Status WriteFiles(const std::filesystem::path& folder) {
  const std::string body(kHttpBodyBytes, 'x');
  std::ofstream file(folder / "nginx.conf");
  file << "daemon off; master_process off; error_log stderr crit; pid " << folder.string()
       << "/nginx.pid;\nevents { worker_connections 1024; }\nhttp {\n  access_log off;\n"
       << "  keepalive_requests 1000000000;\n";
  for (const char* kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
    file << "  " << kind << "_temp_path " << folder.string() << "/" << kind << ";\n";
  }
  file << "  server { listen " << kHttpPort << "; location / { return 200 \"" << body
       << "\"; } }\n}\n";
  std::ofstream script(folder / "percentiles.lua");
  script << kWrkScript;
  if (!file.flush() || !script.flush()) {
    return absl::InternalError("cannot write " + folder.string());
  }
  return absl::OkStatus();
}

absl::StatusOr<Served> ReadWrk(const std::string& text) {
  Served served;
  double took_us = 0, failed = 1;
  std::istringstream words(text.substr(std::min(text.find("result"), text.size())));
  std::string name;
  words >> name >> served.requests >> took_us >> served.latency.p50_us >> served.latency.p99_us >>
      served.latency.p999_us >> failed;
  if (failed > 0 || took_us <= 0) return absl::InternalError("wrk: " + text.substr(0, 400));
  served.per_second = served.requests * 1e6 / took_us;
  return served;
}

absl::StatusOr<std::vector<Row>> RunHttp(const RunOptions& options) {
  if (!AllInstalled(options, {"nginx", "wrk"})) return std::vector<Row>();
  std::string folder = std::filesystem::temp_directory_path() / "im-bench-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return ErrnoStatus("a directory " + folder);
  IM_RETURN_IF_ERROR(WriteFiles(folder));
  Table table("app_http");
  {
    IM_ASSIGN_OR_RETURN(
        const auto ways,
        Ways::Up(options, {{absl::StrCat("nginx -e stderr -c ", folder, "/nginx.conf"), kHttpPort}}));
    // It knows whole seconds only.
    const int seconds = std::max(1, static_cast<int>(options.duration_s));
    ways->Measure(options, table, [&](const Way& way, Table& to) -> absl::Status {
      return Measure({"wrk", "-t", "1", "-c", absl::StrCat(kConnections), "-d",
                      absl::StrCat(seconds, "s"), "-s", folder + "/percentiles.lua",
                      absl::StrCat("http://", way.server(), ":", kHttpPort, "/")},
                     options, ReadWrk, "GET of 1 KB", way, to);
    });
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return table.Take();
}

}  // namespace

Scenario AppRedis() {
  return {.name = "app_redis",
          .description = "redis-benchmark: GET and SET, one by one and in pipelines",
          .default_repeat = 5,
          .run = RunRedis,
          .start_s = 6,
          .repeat_s = 5,
          .repeat_durations = 18};
}

Scenario AppHttp() {
  return {.name = "app_http",
          .description = "wrk: nginx asked for 1 KB by 50 connections",
          .default_repeat = 5,
          .run = RunHttp,
          .start_s = 6,
          .repeat_s = 2,
          .repeat_durations = 9};
}

}  // namespace im::bench
