// netstack: two programs with im::netstack and im::tunnel linked in, beside the
// kernel's TCP over im-tunnel and over wireguard-go, over the same kind of veth
// pair at MTU 1420: TCP in 1, 8 and 128 flows, the round trip of one byte,
// connections a second, processor time, memory; one flow beside many quiet ones.
//
// wireguard-go's own netstack mode (gVisor) is a further way where bench/peers/build
// has built netstack-go beside im-bench, or IM_BENCH_NETSTACK_GO names it; where it
// is missing, the report says so.
//
// Processor time is that of both ends, with iperf3's for the kernel's TCP.
// IM_BENCH_EMBEDDED_OTHER names another im-embedded-peer (of an older build, for
// a comparison within one run).

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "bench/embedded_pair.h"
#include "bench/iperf3.h"
#include "bench/latencies.h"
#include "bench/scenario.h"
#include "bench/tunnel_pair.h"

namespace im::bench {
namespace {

constexpr int kFlows[] = {1, 8, 128};
constexpr int kQuietConnections[] = {1000, 10'000};
constexpr int kChurn = 2000;  // connections of one measurement

int Trips(const RunOptions& options) {
  constexpr int kTripsPerSecond = 1000;  // of measurement
  return std::max(1, static_cast<int>(options.duration_s * kTripsPerSecond));
}

// A throughput with what the programs at both ends, and those that carry it, took for it.
void AddStream(Table& table, const std::string& what, const std::string& way,
               const Throughput& throughput, double programs_s) {
  table.Add(what, way, "Gb/s", throughput.gigabits_per_s);
  table.Add(what + " processor time", way, "s/GB", programs_s / throughput.gigabytes);
  if (throughput.resident_megabytes > 0) {
    table.Add(what + " memory", way, "MB", throughput.resident_megabytes);
  }
}

absl::Status StreamOnce(Embedded& way, const std::string& what, int flows,
                        const RunOptions& options, Table& table) {
  const double cpu_before_s = way.CpuSeconds();
  IM_ASSIGN_OR_RETURN(const Throughput throughput, StreamEmbedded(way, flows, options.duration_s));
  AddStream(table, what, way.name, throughput, way.CpuSeconds() - cpu_before_s);
  return absl::OkStatus();
}

absl::Status MeasureEmbedded(Embedded& way, const RunOptions& options, Table& table) {
  const bool quick = options.duration_s < 1;
  Process& near = way.peers[0];
  for (const int flows : kFlows) {
    if (quick && flows > 1) break;
    IM_RETURN_IF_ERROR(StreamOnce(way, absl::StrCat("TCP x", flows), flows, options, table));
  }
  const int trips = Trips(options);
  IM_ASSIGN_OR_RETURN(const Percentiles percentiles,
                      AskTrips(near, absl::StrCat("ping ", trips), trips));
  percentiles.AddTo(table, "round trip ", way.name);
  const int count = quick ? kChurn / 10 : kChurn;
  IM_ASSIGN_OR_RETURN(const nlohmann::json churn, Ask(near, absl::StrCat("connect ", count)));
  table.Add("connections", way.name, "1/s", count * 1e6 / churn.value("us", 1.0));
  return absl::OkStatus();
}

// The kernel's TCP over a tunnel program, by iperf3.
struct Kernel {
  std::string name;
  std::unique_ptr<TunnelPair> pair;
  std::vector<Process> servers;
};

absl::StatusOr<Kernel> StartKernel(const std::string& name, const std::string& program, int number,
                                   const std::string& peer) {
  Kernel way;
  way.name = absl::StrCat("kernel TCP over ", name);
  IM_ASSIGN_OR_RETURN(way.pair, TunnelPair::Up(program, number, peer));
  for (const std::vector<std::string>& argv :
       {std::vector<std::string>{"iperf3", "-s"},
        {peer, "serve", "--echo", "7001", "--sink", "7002"}}) {
    IM_ASSIGN_OR_RETURN(Process process, way.pair->StartFar(argv));
    way.servers.push_back(std::move(process));
  }
  IM_RETURN_IF_ERROR(way.pair->AwaitListener(kIperf3Port));
  return way;
}

absl::Status MeasureKernel(const Kernel& way, const RunOptions& options, Table& table) {
  const std::string& name = way.name;
  const TunnelPair& pair = *way.pair;
  for (const int flows : kFlows) {
    if (options.duration_s < 1 && flows > 1) break;
    const double cpu_before_s = pair.CpuSeconds();
    IM_ASSIGN_OR_RETURN(
        const Throughput throughput,
        MeasureThroughput(pair, options.duration_s, {"-P", absl::StrCat(flows)}));
    AddStream(table, absl::StrCat("TCP x", flows), name, throughput,
              pair.CpuSeconds() - cpu_before_s + throughput.iperf3_s);
  }
  IM_ASSIGN_OR_RETURN(Process driver,
                      Process::Start({.argv = pair.AtNear({options.bin + "/im-peer", "drive"})}));
  IM_RETURN_IF_ERROR(AskUntilOk(driver, absl::StrCat("connect 1 ", pair.server(), " 7001")));
  const int trips = Trips(options);
  IM_ASSIGN_OR_RETURN(const Percentiles percentiles,
                      AskTrips(driver, absl::StrCat("trips 1 1 ", trips, " 0"), trips));
  percentiles.AddTo(table, "round trip ", name);
  const int connections = options.duration_s < 1 ? kChurn / 10 : kChurn;
  IM_ASSIGN_OR_RETURN(
      const double churn_us,
      AskNumber(driver, absl::StrCat("churn ", connections, " ", pair.server(), " 7002"), "us"));
  table.Add("connections", name, "1/s", connections * 1e6 / churn_us);
  return absl::OkStatus();
}

// One busy flow beside many quiet connections.
absl::Status MeasureCrowd(Embedded& way, const RunOptions& options, Table& table) {
  IM_RETURN_IF_ERROR(Ask(way.peers[0], "ping 1").status());
  const double memory_before = way.ResidentMegabytes();
  table.Add("memory at start", way.name, "MB", memory_before);
  int held = 0;
  for (const int quiet : kQuietConnections) {
    if (options.duration_s < 1 && held > 0) break;
    IM_RETURN_IF_ERROR(Ask(way.peers[0], absl::StrCat("hold ", quiet - held)).status());
    held = quiet;
    if (quiet == kQuietConnections[0])
      table.Add("a quiet connection's memory", way.name, "KB",
                std::max(0.0, way.ResidentMegabytes() - memory_before) * 1e3 / quiet);
    IM_RETURN_IF_ERROR(
        StreamOnce(way, absl::StrCat("TCP x1 beside ", quiet, " quiet"), 1, options, table));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  const std::string peer = options.bin + "/im-peer";
  Table table("netstack");
  std::vector<Embedded> ways;
  const std::vector<std::pair<std::string, std::string>> programs = EmbeddedPrograms(options);
  int number = 0;
  for (const auto& [name, program] : programs) {
    IM_ASSIGN_OR_RETURN(auto pair, TunnelPair::Up("", number++, peer));
    IM_ASSIGN_OR_RETURN(Embedded way, StartEmbedded(name, program, std::move(pair)));
    ways.push_back(std::move(way));
  }
  std::vector<Kernel> kernels;
  for (const auto& [name, program] : TunnelPrograms(options)) {
    IM_ASSIGN_OR_RETURN(Kernel way, StartKernel(name, program, number++, peer));
    kernels.push_back(std::move(way));
  }

  for (int i = 0; i < options.repeat; ++i) {
    for (Embedded& way : ways) {
      options.Progress(i, way.name);
      IM_RETURN_IF_ERROR(MeasureEmbedded(way, options, table));
    }
    for (const Kernel& way : kernels) {
      options.Progress(i, way.name);
      IM_RETURN_IF_ERROR(MeasureKernel(way, options, table));
    }
  }
  for (const auto& [name, program] : programs) {
    IM_ASSIGN_OR_RETURN(auto pair, TunnelPair::Up("", ++number, peer));
    IM_ASSIGN_OR_RETURN(Embedded way, StartEmbedded(name, program, std::move(pair)));
    options.Progress(options.repeat, absl::StrCat("quiet connections, ", name));
    IM_RETURN_IF_ERROR(MeasureCrowd(way, options, table));
  }
  return table.Take();
}

}  // namespace

Scenario Netstack() {
  return {"netstack", "programs that embed the stack beside the kernel's TCP over im-tunnel", 5,
          Run, /*start_s=*/8, /*repeat_s=*/8, /*repeat_durations=*/9};
}

}  // namespace im::bench
