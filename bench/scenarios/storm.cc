// storm: one program connects to 500 hosts at once, none of which runs, and asks
// each for a byte: how long until the first and the last have answered.

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"

namespace im::bench {
namespace {

constexpr int kHosts = 500;
constexpr int kHostsWhenQuick = 20;
constexpr int kPort = 7000;

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  const int count = options.quick ? kHostsWhenQuick : kHosts;
  Table table("storm");
  const std::string way = absl::StrCat("im, ", count, " hosts");
  for (int i = 0; i < options.repeat; ++i) {
    options.Progress(i, absl::StrCat(count, " hosts"));
    // A cluster for each, so that every host is as cold as it can be.
    IM_ASSIGN_OR_RETURN(
        auto cluster,
        TestCluster::Up(options.bin,
                        absl::StrCat("  host: {replicas: ", count, ", command: [", options.bin,
                                     "/im-peer, serve, --echo, \"", kPort, "\"]}\n"),
                        "", TestCluster::kLargeNetwork));
    IM_ASSIGN_OR_RETURN(Process driver, cluster->Drive());
    IM_ASSIGN_OR_RETURN(const std::string line,
                        driver.Ask(absl::StrCat("storm host ", count, " ", kPort)));
    const auto answer = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!answer.is_object() || !answer.value("ok", false)) return absl::InternalError(line);
    driver.Finish();
    table.Add("first answer", way, "ms", answer.value("first_us", 0.0) / 1e3);
    table.Add("last answer", way, "ms", answer.value("last_us", 0.0) / 1e3);
    table.Add("failures", way, "connections", answer.value("failed", 0.0));
  }
  return table.Take();
}

}  // namespace

Scenario Storm() {
  return {.name = "storm",
          .description = "500 hosts, all woken at once by one program",
          .default_repeat = 3,
          .run = Run,
          .start_s = 1,
          .repeat_s = 8};
}

}  // namespace im::bench
