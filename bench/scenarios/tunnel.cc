// tunnel: im-tunnel beside wireguard-go, a plain veth pair, and itself without
// its cipher (null_aead.cc), at MTU 1420: TCP in 1, 8 and 128 flows, UDP in
// datagrams of 1400 bytes, the round trip of 64 bytes with and without a bulk
// flow beside it, processor time and memory.
//
// UDP is sent as fast as it goes. Its receiver's buffer is as large as the
// kernel allows, since with the usual one it is the bottleneck of all ways.

#include <algorithm>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "bench/iperf3.h"
#include "bench/latencies.h"
#include "bench/scenario.h"
#include "bench/tunnel_pair.h"

namespace im::bench {
namespace {

constexpr int kFlows[] = {1, 8, 128};
// UDP payload: an IP packet of 1400 bytes.
constexpr char kDatagramBytes[] = "1372";
constexpr int kTripsPerSecond = 1000;  // of measurement

// One way, brought up.
struct Way {
  std::string name;
  std::unique_ptr<TunnelPair> pair;
  std::vector<Process> servers;
};

absl::StatusOr<Way> Start(const std::string& name, const std::string& program, int number,
                          const std::string& peer) {
  Way way;
  way.name = name;
  IM_ASSIGN_OR_RETURN(way.pair, TunnelPair::Up(program, number, peer));
  for (const std::vector<std::string>& server :
       {std::vector<std::string>{"iperf3", "-s"}, {peer, "serve", "--echo", "7001", "--sink", "7002"}}) {
    IM_ASSIGN_OR_RETURN(Process process, way.pair->StartFar(server));
    way.servers.push_back(std::move(process));
  }
  IM_RETURN_IF_ERROR(way.pair->AwaitListener(kIperf3Port));
  return way;
}

std::string ReceiveBufferBytes() {
  constexpr long kWanted = 4 << 20;
  long allowed = 0;
  std::ifstream("/proc/sys/net/core/rmem_max") >> allowed;
  return absl::StrCat(std::min(kWanted, allowed));
}

// How fast it goes; with the tunnels' processor time for a gigabyte, and their memory.
absl::Status Bulk(const Way& way, const std::string& what, const std::vector<std::string>& more,
                  const RunOptions& options, Table& table) {
  const double cpu_before_s = way.pair->CpuSeconds();
  IM_ASSIGN_OR_RETURN(const Throughput throughput,
                      MeasureThroughput(*way.pair, options.duration_s, more));
  table.Add(what, way.name, "Gb/s", throughput.gigabits_per_s);
  if (way.pair->has_carriers()) {
    table.Add(what + " processor time", way.name, "s/GB",
              (way.pair->CpuSeconds() - cpu_before_s) / throughput.gigabytes);
    table.Add(what + " memory", way.name, "MB", throughput.resident_megabytes);
  }
  return absl::OkStatus();
}

absl::StatusOr<Process> StartDriver(const Way& way, const RunOptions& options) {
  return Process::Start({.argv = way.pair->AtNear({options.bin + "/im-peer", "drive"})});
}

absl::Status RoundTrips(const Way& way, const std::string& what, const RunOptions& options,
                        Table& table) {
  IM_ASSIGN_OR_RETURN(Process driver, StartDriver(way, options));
  IM_RETURN_IF_ERROR(AskUntilOk(driver, absl::StrCat("connect 1 ", way.pair->server(), " 7001")));
  const int count = std::max(1, static_cast<int>(options.duration_s * kTripsPerSecond));
  IM_ASSIGN_OR_RETURN(const Percentiles percentiles,
                      AskTrips(driver, absl::StrCat("trips 1 64 ", count, " 0"), count));
  percentiles.AddTo(table, what + " ", way.name);
  return absl::OkStatus();
}

absl::Status MeasureOnce(const Way& way, const RunOptions& options, Table& table) {
  const bool quick = options.duration_s < 1;
  for (const int flows : kFlows) {
    if (quick && flows > 1) break;
    IM_RETURN_IF_ERROR(
        Bulk(way, absl::StrCat("TCP x", flows), {"-P", absl::StrCat(flows)}, options, table));
  }
  IM_RETURN_IF_ERROR(RoundTrips(way, "round trip", options, table));
  if (quick) return absl::OkStatus();
  IM_RETURN_IF_ERROR(Bulk(way, "UDP", {"-u", "-b", "0", "-l", kDatagramBytes, "-w", ReceiveBufferBytes()}, options, table));
  // The flow ends with the process.
  IM_ASSIGN_OR_RETURN(Process beside, StartDriver(way, options));
  IM_RETURN_IF_ERROR(AskUntilOk(beside, absl::StrCat("connect 1 ", way.pair->server(), " 7002")));
  IM_RETURN_IF_ERROR(beside.WriteLine("stream 1 3600000"));
  IM_RETURN_IF_ERROR(RoundTrips(way, "round trip, loaded", options, table));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  const std::string peer = options.bin + "/im-peer";
  std::vector<TunnelProgram> programs = TunnelPrograms(options);
  programs.push_back({"without cipher", options.bin + "/im-null-tunnel"});
  programs.push_back({"plain veth", ""});

  Table table("tunnel");
  std::vector<Way> ways;
  int number = 0;
  for (const auto& [name, program] : programs) {
    auto way = Start(name, program, number++, peer);
    if (!way.ok()) {
      options.skip(name, std::string(way.status().message()), /*failed=*/true);
      continue;
    }
    if (way->pair->has_carriers())
      table.Add("memory at start", name, "MB", way->pair->ResidentMegabytes());
    ways.push_back(*std::move(way));
  }
  for (int i = 0; i < options.repeat; ++i) {
    for (auto way = ways.begin(); way != ways.end();) {
      options.Progress(i, way->name);
      const absl::Status status = MeasureOnce(*way, options, table);
      if (!status.ok()) options.skip(way->name, std::string(status.message()), /*failed=*/true);
      way = status.ok() ? way + 1 : ways.erase(way);
    }
  }
  return table.Take();
}

}  // namespace

Scenario Tunnel() {
  return {"tunnel", "im-tunnel beside wireguard-go and a plain veth pair", 5, Run,
          /*start_s=*/3, /*repeat_s=*/20, /*repeat_durations=*/28};
}

}  // namespace im::bench
