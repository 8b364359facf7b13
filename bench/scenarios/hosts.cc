// hosts: what hosts that only stand in cluster.yaml cost: imd's memory, and the
// time until it is up, with 1,000, 10,000 and 100,000 of them (the most that a
// cluster may have); what it takes to list them all, and to wake the last.

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "bench/process_figures.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"

namespace im::bench {
namespace {

// Connections to one host that does not run.
constexpr int kColdStarts = 5;
constexpr int kCounts[] = {1'000, 10'000, 100'000};

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
          .description = "imd with 1,000, 10,000 and 100,000 hosts that do not run",
          .default_repeat = 3,
          .run = Run,
          .start_s = 1,
          .repeat_s = 4};
}

}  // namespace im::bench
