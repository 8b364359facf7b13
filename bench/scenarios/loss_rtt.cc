// loss_rtt: one TCP flow over long and lossy paths, emulated (path_main.cc):
// 200 Mb/s, a queue of 1 MB, round trips of 1, 20 and 80 ms, of which no, one in
// a thousand or one in a hundred packets is lost, in each direction. Ways:
// programs that embed the stack (CUBIC); wireguard-go's netstack mode; the
// kernel's CUBIC over im-tunnel and other tunnels, and over the bare path; its
// BBR over the bare path, where it has that. They differ more than tunnels do:
// CUBIC takes every loss for a full queue, BBR none.
//
// Each flow is a new connection, so that slow start counts; it lasts two seconds
// at least. The machine's processor time for a gigabyte has the path's own in it,
// and where little arrives, what runs anyway.

#include <algorithm>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "bench/embedded_pair.h"
#include "bench/iperf3.h"
#include "bench/scenario.h"
#include "bench/tunnel_pair.h"

namespace im::bench {
namespace {

constexpr int kMegabits = 200;
constexpr double kLeastDurationS = 2;

struct Case {
  const char* name;
  int round_trip_ms;
  int lost_per_million;
};
constexpr Case kCases[] = {
    {"1 ms, no loss", 1, 0},   {"1 ms, 0.1 % lost", 1, 1000},   {"1 ms, 1 % lost", 1, 10'000},
    {"20 ms, no loss", 20, 0}, {"20 ms, 0.1 % lost", 20, 1000}, {"20 ms, 1 % lost", 20, 10'000},
    {"80 ms, no loss", 80, 0}, {"80 ms, 0.1 % lost", 80, 1000}, {"80 ms, 1 % lost", 80, 10'000},
};
constexpr Case kCaseWhenQuick = kCases[4];

// The kernel's TCP at both ends, or the programs' own.
struct Flow {
  std::string name;
  std::unique_ptr<TunnelPair> pair;    // of the kernel's
  std::vector<Process> servers;        // iperf3's
  std::string congestion;              // the kernel's algorithm
  std::unique_ptr<Embedded> embedded;  // else

  TunnelPair& path() { return embedded == nullptr ? *pair : *embedded->pair; }
};

absl::StatusOr<Flow> OfKernel(const std::string& name, const std::string& congestion,
                              const std::string& program, int number, const std::string& bin) {
  Flow flow;
  flow.name = name;
  flow.congestion = congestion;
  IM_ASSIGN_OR_RETURN(flow.pair, TunnelPair::UpOverPath(program, number, bin));
  IM_ASSIGN_OR_RETURN(Process server, flow.pair->StartFar({"iperf3", "-s"}));
  flow.servers.push_back(std::move(server));
  IM_RETURN_IF_ERROR(flow.pair->AwaitListener(kIperf3Port));
  return flow;
}

absl::StatusOr<Flow> OfProgram(const std::string& name, const std::string& program, int number,
                               const std::string& bin) {
  Flow flow;
  flow.name = name;
  IM_ASSIGN_OR_RETURN(auto pair, TunnelPair::UpOverPath("", number, bin));
  IM_ASSIGN_OR_RETURN(Embedded embedded, StartEmbedded(name, program, std::move(pair)));
  flow.embedded = std::make_unique<Embedded>(std::move(embedded));
  return flow;
}

bool KernelHas(const std::string& congestion) {
  std::ifstream file("/proc/sys/net/ipv4/tcp_available_congestion_control");
  for (std::string name; file >> name;) {
    if (name == congestion) return true;
  }
  return false;
}

std::vector<Flow> AllFlows(const RunOptions& options) {
  std::vector<Flow> flows;
  int number = 0;
  const auto add = [&](const std::string& name, absl::StatusOr<Flow> flow) {
    if (flow.ok()) {
      flows.push_back(*std::move(flow));
    } else {
      options.skip(name, std::string(flow.status().message()), /*failed=*/true);
    }
  };
  for (const auto& [name, program] : EmbeddedPrograms(options)) {
    add(name, OfProgram(name, program, number++, options.bin));
  }
  for (const auto& [name, program] : TunnelPrograms(options)) {
    const std::string way = "kernel CUBIC over " + name;
    add(way, OfKernel(way, "cubic", program, number++, options.bin));
  }
  for (const auto& [way, congestion] : {std::pair("kernel CUBIC, not encrypted", "cubic"),
                                        {"kernel BBR, not encrypted", "bbr"}}) {
    if (KernelHas(congestion)) {
      add(way, OfKernel(way, congestion, "", number++, options.bin));
    } else {
      options.skip(way, "this kernel has it not", /*failed=*/false);
    }
  }
  return flows;
}

absl::StatusOr<Throughput> Stream(Flow& flow, double duration_s) {
  if (flow.embedded != nullptr) return StreamEmbedded(*flow.embedded, 1, duration_s);
  return MeasureThroughput(*flow.pair, duration_s, {"-C", flow.congestion});
}

absl::Status MeasureOnce(Flow& flow, const Case& path, double duration_s, Table& table) {
  IM_RETURN_IF_ERROR(flow.path().SetPath({.round_trip = std::chrono::milliseconds(path.round_trip_ms),
                                          .lost_per_million = path.lost_per_million,
                                          .megabits_per_second = kMegabits}));
  IM_ASSIGN_OR_RETURN(const Throughput throughput, Stream(flow, duration_s));
  throughput.AddTo(table, path.name, flow.name, "Mb/s");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  std::vector<Flow> flows = AllFlows(options);
  Table table("loss_rtt");
  const double duration_s = options.quick ? options.duration_s
                                          : std::max(options.duration_s, kLeastDurationS);
  for (int i = 0; i < options.repeat; ++i) {
    for (const Case& path : kCases) {
      if (options.quick && path.name != kCaseWhenQuick.name) continue;
      for (auto flow = flows.begin(); flow != flows.end();) {
        options.Progress(i, absl::StrCat(flow->name, ", ", path.name));
        const absl::Status status = MeasureOnce(*flow, path, duration_s, table);
        if (!status.ok()) {
          options.skip(flow->name, absl::StrCat(path.name, ": ", status.message()),
                       /*failed=*/true);
        }
        flow = status.ok() ? flow + 1 : flows.erase(flow);
      }
    }
  }
  return table.Take();
}

}  // namespace

Scenario LossRtt() {
  constexpr int kWays = 6, kPaths = 9;
  return {.name = "loss_rtt",
          .description = "one flow over long and lossy paths: ours, the kernel's, others",
          .default_repeat = 3,
          .run = Run,
          .start_s = 3,
          .repeat_s = 10,
          .repeat_durations = kWays * kPaths};
}

}  // namespace im::bench
