#include "bench/iperf3.h"

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "bench/process_figures.h"

namespace im::bench {

namespace {

// It knows whole seconds only. Its errors are in the JSON; what else it says (it warns of
// datagrams larger than the MSS, which leaves room for TCP's options) is for nobody.
std::vector<std::string> Client(const std::string& server, double duration_s,
                                const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {"sh", "-c", "exec \"$@\" 2> /dev/null", "sh", "iperf3", "-J",
                                   "-c", server, "-t",
                                   absl::StrCat(std::max(1, static_cast<int>(duration_s)))};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return argv;
}

Duration Timeout(double duration_s) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(duration_s) +
                                              kAnswerTimeout);
}

absl::StatusOr<Throughput> Parse(const std::string& text) {
  const auto report = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!report.is_object()) {
    return absl::InternalError(absl::StrCat("iperf3: ", text.substr(0, 200)));
  }
  const auto end = report.value("end", nlohmann::json::object());
  Throughput result;
  for (const char* direction : {"sum_received", "sum_received_bidir_reverse"}) {
    if (!end.contains(direction)) continue;
    const auto& sum = end[direction];
    result.gigabytes += sum.value("bytes", 0.0) / 1e9;
    result.gigabits_per_s += sum.value("bits_per_second", 0.0) / 1e9;
    result.lost_percent = std::max(result.lost_percent, sum.value("lost_percent", 0.0));
    const auto cpu = end.value("cpu_utilization_percent", nlohmann::json::object());
    result.iperf3_s = (cpu.value("host_total", 0.0) + cpu.value("remote_total", 0.0)) / 100 *
                      sum.value("seconds", 0.0);
  }
  if (result.gigabytes <= 0) {
    return absl::InternalError(
        absl::StrCat("iperf3: ", report.value("error", text.substr(0, 200))));
  }
  return result;
}

// `run`: of a command at the client's place; its output.
absl::StatusOr<Throughput> Measure(const std::function<absl::StatusOr<std::string>()>& run,
                                   const std::function<double()>& resident_megabytes) {
  const double before_s = MachineCpuSeconds();
  IM_ASSIGN_OR_RETURN(const std::string text, run());
  const double machine_s = MachineCpuSeconds() - before_s;
  IM_ASSIGN_OR_RETURN(Throughput result, Parse(text));
  result.machine_s = machine_s;
  result.resident_megabytes = resident_megabytes();
  return result;
}

}  // namespace

absl::StatusOr<Throughput> MeasureThroughput(const Way& way, double duration_s,
                                             const std::vector<std::string>& arguments) {
  const auto client = Client(way.server(), duration_s, arguments);
  return Measure([&] { return way.Run(client, Timeout(duration_s)); },
                 [&] { return way.ResidentMegabytes(); });
}

absl::StatusOr<Throughput> MeasureThroughput(const NamespacePair& pair, double duration_s,
                                             const std::vector<std::string>& arguments) {
  const auto client = pair.AtNear(Client(pair.server(), duration_s, arguments));
  return Measure([&] { return RunCommand(client, {}, Timeout(duration_s)); },
                 [&] { return pair.ResidentMegabytes(); });
}

}  // namespace im::bench
