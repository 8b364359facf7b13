// idle_cost: what 1,000 paused hosts cost while nobody uses them: processor time
// of all their agents and of imd, as a share of one core, and memory of each
// (what only it has, and its part of what it shares).

#include <fstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "bench/process_figures.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"

namespace im::bench {
namespace {

constexpr int kHosts = 1000;
constexpr int kHostsWhenQuick = 10;
constexpr int kPort = 7000;
constexpr Duration kPauseTimeout = std::chrono::seconds(60);

// Proportional set size.
double ProportionalKilobytes(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/smaps_rollup"));
  std::string word;
  double kilobytes = 0;
  while (file >> word) {
    if (word != "Pss:") continue;
    file >> kilobytes;
    break;
  }
  return kilobytes;
}

absl::StatusOr<std::vector<pid_t>> AwaitPaused(TestCluster& cluster, size_t count) {
  const RealClock clock;
  const Instant deadline = clock.Now() + kPauseTimeout;
  std::vector<pid_t> agents;
  do {
    IM_ASSIGN_OR_RETURN(const std::vector<TestCluster::Host> hosts, cluster.Hosts());
    agents.clear();
    for (const TestCluster::Host& host : hosts) {
      if (host.state == "paused") agents.push_back(host.agent_pid);
    }
  } while (agents.size() < count && clock.Now() < deadline);
  if (agents.size() < count) {
    return absl::DeadlineExceededError(
        absl::StrCat("only ", agents.size(), " of ", count, " hosts were paused"));
  }
  return agents;
}

double CpuSecondsOfAll(const std::vector<pid_t>& pids) {
  double sum_s = 0;
  for (const pid_t pid : pids) sum_s += CpuSecondsOf(pid);
  return sum_s;
}

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  const int count = options.quick ? kHostsWhenQuick : kHosts;
  IM_ASSIGN_OR_RETURN(
      auto cluster,
      TestCluster::Up(options.bin,
                      absl::StrCat("  host: {replicas: ", count, ", idle: {after: 1s}, command: [",
                                   options.bin, "/im-peer, serve, --echo, \"", kPort, "\"]}\n"),
                      "", TestCluster::kLargeNetwork));
  {
    IM_ASSIGN_OR_RETURN(Process driver, cluster->Drive());
    IM_RETURN_IF_ERROR(
        AskNumber(driver, absl::StrCat("storm host ", count, " ", kPort), "last_us").status());
  }
  IM_ASSIGN_OR_RETURN(const std::vector<pid_t> agents,
                      AwaitPaused(*cluster, static_cast<size_t>(count)));
  IM_ASSIGN_OR_RETURN(const pid_t imd, cluster->ImdPid());
  Table table("idle_cost");
  const std::string way = absl::StrCat("im, ", count, " paused hosts");
  double agents_kilobytes = 0;
  for (const pid_t agent : agents) agents_kilobytes += ProportionalKilobytes(agent);
  table.Add("memory of an agent", way, "KB", agents_kilobytes / count);
  table.Add("memory of imd", way, "MB", ResidentMegabytesOf(imd));
  const RealClock clock;
  for (int i = 0; i < options.repeat; ++i) {
    options.Progress(i, "watching them do nothing");
    const double agents_before_s = CpuSecondsOfAll(agents), imd_before_s = CpuSecondsOf(imd);
    const Instant began = clock.Now();
    const Instant end = began + std::chrono::duration_cast<Duration>(
                                    std::chrono::duration<double>(options.duration_s));
    std::this_thread::sleep_until(end);
    const double seconds = std::chrono::duration<double>(clock.Now() - began).count();
    table.Add("processor time, agents", way, "% of a core",
              (CpuSecondsOfAll(agents) - agents_before_s) / seconds * 100);
    table.Add("processor time, imd", way, "% of a core",
              (CpuSecondsOf(imd) - imd_before_s) / seconds * 100);
  }
  return table.Take();
}

}  // namespace

Scenario IdleCost() {
  return {.name = "idle_cost",
          .description = "processor time and memory of 1,000 paused hosts",
          .default_repeat = 5,
          .run = Run,
          .start_s = 30,
          .repeat_durations = 1};
}

}  // namespace im::bench
