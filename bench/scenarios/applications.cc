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

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
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

// ---- redis -------------------------------------------------------------------

struct Pipeline {
  const char* name;
  const char* length;
  int requests_per_second;  // of measurement: about as many as can be served
};
constexpr Pipeline kPipelines[] = {{"", "1", 15'000}, {", pipelines of 16", "16", 150'000}};

// One line of --csv: the test's name, requests a second, and, in milliseconds,
// average, least, p50, p95, p99 and most.
absl::Status AddRedis(const std::string& csv, const std::string& suffix, const Way& way,
                      Table& table) {
  int found = 0;
  for (const auto& line : absl::StrSplit(csv, '\n')) {
    const std::vector<std::string> fields =
        absl::StrSplit(absl::StrReplaceAll(line, {{"\"", ""}}), ',');
    double per_second = 0, p50_ms = 0, p99_ms = 0;
    if (fields.size() < 8 || !absl::SimpleAtod(fields[1], &per_second) ||
        !absl::SimpleAtod(fields[4], &p50_ms) || !absl::SimpleAtod(fields[6], &p99_ms)) {
      continue;
    }
    ++found;
    const std::string what = fields[0] + suffix;
    table.Add(what, way.name(), "1/s", per_second);
    table.Add(what + ", p50", way.name(), "us", p50_ms * 1e3);
    table.Add(what + ", p99", way.name(), "us", p99_ms * 1e3);
  }
  if (found != 2) return absl::InternalError("redis-benchmark: " + csv.substr(0, 200));
  return absl::OkStatus();
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
      IM_ASSIGN_OR_RETURN(
          const std::string csv,
          way.Run({"redis-benchmark", "-h", way.server(), "-p", absl::StrCat(kRedisPort), "-t",
                   "get,set", "-n", absl::StrCat(requests), "-c", absl::StrCat(kConnections), "-P",
                   pipeline.length, "--csv"},
                  Timeout(options)));
      IM_RETURN_IF_ERROR(AddRedis(csv, pipeline.name, way, to));
    }
    return absl::OkStatus();
  });
  return table.Take();
}

// ---- HTTP --------------------------------------------------------------------

// nginx's configuration: one process, and all that it writes in `folder`.
absl::Status WriteConfig(const std::filesystem::path& folder) {
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
  if (!file.flush()) return absl::InternalError("cannot write " + folder.string());
  return absl::OkStatus();
}

// wrk's times: "870.00us", "1.23ms", "1.02s".
bool ParseTime(const std::string& text, double& us) {
  for (const auto& [unit, factor] : {std::pair("us", 1.0), {"ms", 1e3}, {"s", 1e6}}) {
    const size_t end = text.rfind(unit);
    if (end == std::string::npos) continue;
    if (!absl::SimpleAtod(text.substr(0, end), &us)) return false;
    us *= factor;
    return true;
  }
  return false;
}

absl::Status AddHttp(const std::string& text, const Way& way, Table& table) {
  const auto bad = [&] { return absl::InternalError("wrk: " + text.substr(0, 400)); };
  if (text.find("Socket errors") != std::string::npos ||
      text.find("Non-2xx") != std::string::npos) {
    return bad();
  }
  double per_second = 0, p50_us = 0, p99_us = 0;
  std::istringstream words(text);
  for (std::string word, value; words >> word;) {
    if (word == "Requests/sec:") words >> per_second;
    if (word == "50%" && words >> value && !ParseTime(value, p50_us)) return bad();
    if (word == "99%" && words >> value && !ParseTime(value, p99_us)) return bad();
  }
  if (per_second <= 0 || p50_us <= 0 || p99_us <= 0) return bad();
  table.Add("GET of 1 KB", way.name(), "1/s", per_second);
  table.Add("GET of 1 KB, p50", way.name(), "us", p50_us);
  table.Add("GET of 1 KB, p99", way.name(), "us", p99_us);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Row>> RunHttp(const RunOptions& options) {
  if (!AllInstalled(options, {"nginx", "wrk"})) return std::vector<Row>();
  std::string folder = std::filesystem::temp_directory_path() / "im-bench-XXXXXX";
  if (mkdtemp(folder.data()) == nullptr) return ErrnoStatus("a directory " + folder);
  IM_RETURN_IF_ERROR(WriteConfig(folder));
  Table table("app_http");
  {
    IM_ASSIGN_OR_RETURN(
        const auto ways,
        Ways::Up(options, {{absl::StrCat("nginx -e stderr -c ", folder, "/nginx.conf"), kHttpPort}}));
    // It knows whole seconds only.
    const int seconds = std::max(1, static_cast<int>(options.duration_s));
    ways->Measure(options, table, [&](const Way& way, Table& to) -> absl::Status {
      IM_ASSIGN_OR_RETURN(
          const std::string text,
          way.Run({"wrk", "--latency", "-t", "1", "-c", absl::StrCat(kConnections), "-d",
                   absl::StrCat(seconds, "s"),
                   absl::StrCat("http://", way.server(), ":", kHttpPort, "/")},
                  Timeout(options)));
      return AddHttp(text, way, to);
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
