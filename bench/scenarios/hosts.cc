// hosts: what hosts that only stand in cluster.yaml cost: imd's memory, and the
// time until it is up, with 1,000, 10,000, 100,000 and 1,000,000 of them (the most
// that a cluster may have); what it takes to list them all, to wake the last, and to
// wake many at once: how many a second, and imd's processor time for each, which is
// the packet, the decision, and the start of an agent.

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "bench/process_figures.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"

namespace im::bench {
namespace {

// Connections to one host that does not run.
constexpr int kColdStarts = 5;
constexpr int kCounts[] = {1'000, 10'000, 100'000, 1'000'000};
// That one program connects to at once.
constexpr int kWoken = 200;
constexpr int kWokenWhenQuick = 20;

// The first connection to it, by its name.
absl::Status WakeTheLast(TestCluster& cluster, const std::string& way, const std::string& host,
                         int times, Table& table) {
  IM_ASSIGN_OR_RETURN(Process driver, cluster.Drive());
  for (int i = 0; i < times; ++i) {
    IM_ASSIGN_OR_RETURN(const double us,
                        AskNumber(driver, absl::StrCat("connect 1 ", host, " 7000"), "us"));
    table.Add("SYN to SYN-ACK of the last host", way, "us", us);
    IM_RETURN_IF_ERROR(cluster.Im({"release", host}).status());
  }
  driver.Finish();
  return absl::OkStatus();
}

absl::Status WakeMany(TestCluster& cluster, pid_t imd, const std::string& way, int count,
                      Table& table) {
  IM_ASSIGN_OR_RETURN(Process driver, cluster.Drive());
  const double before_s = CpuSecondsOf(imd);
  IM_ASSIGN_OR_RETURN(const std::string line,
                      driver.Ask(absl::StrCat("storm host ", count, " 7000")));
  const double imd_s = CpuSecondsOf(imd) - before_s;
  const auto answer = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object() || !answer.value("ok", false) || answer.value("failed", 1) != 0) {
    return absl::InternalError(absl::StrCat("storm: ", line));
  }
  table.Add("wakes", way, "1/s", count * 1e6 / answer.value("last_us", 1.0));
  table.Add("a wake, processor time of imd", way, "us", imd_s * 1e6 / count);
  driver.Finish();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  Table table("hosts");
  const RealClock clock;
  for (int i = 0; i < options.repeat; ++i) {
    double least_megabytes = 0;
    for (const int count : kCounts) {
      if (options.quick && count > kCounts[0]) break;
      options.Progress(i, absl::StrCat(count, " hosts"));
      const Instant began = clock.Now();
      IM_ASSIGN_OR_RETURN(
          auto cluster,
          TestCluster::Up(options.bin,
                          absl::StrCat("  host: {replicas: ", count, ", command: [", options.bin,
                                       "/im-peer, serve, --echo, \"7000\"]}\n"),
                          "", TestCluster::kLargeNetwork));
      const double up_s = std::chrono::duration<double>(clock.Now() - began).count();
      IM_ASSIGN_OR_RETURN(const pid_t imd, cluster->ImdPid());
      const double megabytes = ResidentMegabytesOf(imd);
      const std::string way = absl::StrCat("im, ", count, " hosts");
      table.Add("im up", way, "ms", up_s * 1e3);
      table.Add("memory of imd", way, "MB", megabytes);
      const std::string last = absl::StrCat("host-", count);
      IM_RETURN_IF_ERROR(WakeTheLast(*cluster, way, last, options.quick ? 1 : kColdStarts, table));
      const Instant asked = clock.Now();
      IM_ASSIGN_OR_RETURN(const std::string list, cluster->Im({"ps"}));
      if (list.find(last + " ") == std::string::npos) {
        return absl::InternalError("im ps does not tell of " + last);
      }
      table.Add("im ps", way, "ms",
                std::chrono::duration<double, std::milli>(clock.Now() - asked).count());
      IM_RETURN_IF_ERROR(
          WakeMany(*cluster, imd, way, options.quick ? kWokenWhenQuick : kWoken, table));
      if (count == kCounts[0]) {
        least_megabytes = megabytes;
      } else {
        table.Add("memory for one more host", way, "KB",
                  (megabytes - least_megabytes) * 1e3 / (count - kCounts[0]));
      }
    }
  }
  return table.Take();
}

}  // namespace

Scenario Hosts() {
  return {.name = "hosts",
          .description = "imd with 1,000 to 1,000,000 hosts that do not run",
          .default_repeat = 3,
          .run = Run,
          .start_s = 1,
          .repeat_s = 20};
}

}  // namespace im::bench
