// hosts: what hosts that only stand in cluster.yaml cost: imd's memory, and the
// time until it is up, with 1,000, 10,000 and 20,000 of them (the most that a
// cluster may have).

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "bench/process_figures.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"

namespace im::bench {
namespace {

constexpr int kCounts[] = {1'000, 10'000, 20'000};

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
                                       "/im-peer, serve]}\n"),
                          "", TestCluster::kLargeNetwork));
      const double up_s = std::chrono::duration<double>(clock.Now() - began).count();
      IM_ASSIGN_OR_RETURN(const pid_t imd, cluster->ImdPid());
      const double megabytes = ResidentMegabytesOf(imd);
      const std::string way = absl::StrCat("im, ", count, " hosts");
      table.Add("im up", way, "ms", up_s * 1e3);
      table.Add("memory of imd", way, "MB", megabytes);
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
          .description = "imd with 1,000, 10,000 and 20,000 hosts that do not run",
          .default_repeat = 3,
          .run = Run,
          .start_s = 1,
          .repeat_s = 4};
}

}  // namespace im::bench
