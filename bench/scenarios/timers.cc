// timers: how late a program is served that sleeps while its host is paused;
// beside the same on a host that is never paused.
//
// The host pauses soon after each wait begins, and is thawed for its end.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"

namespace im::bench {
namespace {

struct Way {
  const char* host;
  const char* how;    // im-peer ticks
  int period_ms;      // different ones, so that they do not wait for each other
  bool paused;
  const char* text;
};
constexpr Way kWays[] = {
    {"sleep", "sleep", 397, true, "im: paused host, nanosleep"},
    {"poll", "poll", 409, true, "im: paused host, poll"},
    {"select", "select", 419, true, "im: paused host, select"},
    {"up", "sleep", 401, false, "im: host that stays up, nanosleep"},
};

std::string HostText(const Way& way, const std::string& peer, int ticks) {
  const char* const idle =
      way.paused ? "{after: 50ms, timer_horizon: 20ms, timers: honor, tick_max: 0s}" : "{policy: never}";
  return absl::StrCat("  ", way.host, ": {idle: ", idle, ", command: [", peer, ", ticks, ", way.how,
                      ", \"", way.period_ms, "\", \"", ticks, "\"]}\n");
}

absl::StatusOr<std::vector<double>> LateUs(TestCluster& cluster, const std::string& host) {
  IM_ASSIGN_OR_RETURN(const std::string text, cluster.Im({"logs", "--lines", "0", host}));
  std::vector<double> late_us;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto tick = nlohmann::json::parse(
        line.substr(std::min(line.find('{'), line.size())), nullptr, /*allow_exceptions=*/false);
    if (tick.is_object() && tick.contains("late_us")) late_us.push_back(tick["late_us"]);
  }
  return late_us;
}

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  std::string hosts;
  for (const Way& way : kWays) hosts += HostText(way, options.bin + "/im-peer", options.repeat);
  IM_ASSIGN_OR_RETURN(auto cluster, TestCluster::Up(options.bin, hosts));
  for (const Way& way : kWays) IM_RETURN_IF_ERROR(cluster->Im({"wake", way.host}).status());

  const RealClock clock;
  const Duration expected = std::chrono::milliseconds(kWays[2].period_ms) * options.repeat;
  const Instant began = clock.Now();
  // Reading logs keeps nobody awake, but takes processor time from them.
  std::this_thread::sleep_for(expected);
  std::vector<Row> rows;
  for (const Way& way : kWays) {
    std::vector<double> late_us;
    while (static_cast<int>(late_us.size()) < options.repeat) {
      if (clock.Now() - began > 2 * expected + std::chrono::seconds(10)) {
        return absl::DeadlineExceededError(absl::StrCat(way.text, ": only ", late_us.size(),
                                                        " of ", options.repeat, " waits ended"));
      }
      options.Progress(static_cast<int>(late_us.size()), way.text);
      IM_ASSIGN_OR_RETURN(late_us, LateUs(*cluster, way.host));
    }
    rows.push_back({"timers", "served late by", way.text, "us", Samples(std::move(late_us))});
  }
  return rows;
}

}  // namespace

Scenario Timers() {
  return {.name = "timers",
          .description = "how late a program is served that sleeps while its host is paused",
          .default_repeat = 100,
          .run = Run,
          .start_s = 2,
          .repeat_s = 0.45};
}

}  // namespace im::bench
