// mtu: one TCP flow over im-tunnel, over other tunnels, and over a plain veth
// pair, at MTUs from 1280 to 65,000; with the machine's processor time for a
// gigabyte and the memory of who carries it. Below, a veth pair carries each of
// the tunnel's datagrams whole.

#include "absl/strings/str_cat.h"
#include "bench/iperf3.h"
#include "bench/scenario.h"
#include "bench/tunnel_pair.h"

namespace im::bench {
namespace {

constexpr int kMtus[] = {1280, 1420, 1500, 4000, 8920, 65'000};
constexpr int kMtuWhenQuick = 8920;
// boringtun and gotatun lose larger packets (tests/interop/versions_test.py).
constexpr int kMtuOfSome = 1500;

struct Way {
  std::string name;
  std::unique_ptr<TunnelPair> pair;
  std::vector<Process> servers;

  bool Carries(int mtu) const {
    const bool some = name == "boringtun" || name == "gotatun";
    return !some || mtu <= kMtuOfSome;
  }
};

absl::StatusOr<Way> Start(const std::string& name, const std::string& program, int number,
                          const std::string& peer) {
  Way way;
  way.name = name;
  IM_ASSIGN_OR_RETURN(way.pair, TunnelPair::Up(program, number, peer));
  IM_ASSIGN_OR_RETURN(Process server, way.pair->StartFar({"iperf3", "-s"}));
  way.servers.push_back(std::move(server));
  IM_RETURN_IF_ERROR(way.pair->AwaitListener(kIperf3Port));
  return way;
}

absl::Status MeasureOnce(const Way& way, int mtu, double duration_s, Table& table) {
  IM_RETURN_IF_ERROR(way.pair->SetMtu(mtu));
  IM_ASSIGN_OR_RETURN(const Throughput throughput,
                      MeasureThroughput(*way.pair, duration_s, {"-P", "1"}));
  throughput.AddTo(table, absl::StrCat("MTU ", mtu), way.name);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  std::vector<TunnelProgram> programs = TunnelPrograms(options);
  programs.push_back({"veth, not encrypted", ""});
  std::vector<Way> ways;
  int number = 0;
  const auto failed = [&](const std::string& name, const absl::Status& status) {
    options.skip(name, std::string(status.message()), /*failed=*/true);
  };
  for (const auto& [name, program] : programs) {
    auto way = Start(name, program, number++, options.bin + "/im-peer");
    if (way.ok()) {
      ways.push_back(*std::move(way));
    } else {
      failed(name, way.status());
    }
  }
  Table table("mtu");
  for (int i = 0; i < options.repeat; ++i) {
    for (const int mtu : kMtus) {
      if (options.quick && mtu != kMtuWhenQuick) continue;
      for (auto way = ways.begin(); way != ways.end();) {
        options.Progress(i, absl::StrCat(way->name, ", MTU ", mtu));
        const absl::Status status = way->Carries(mtu)
                                        ? MeasureOnce(*way, mtu, options.duration_s, table)
                                        : absl::OkStatus();
        if (!status.ok()) failed(way->name, status);
        way = status.ok() ? way + 1 : ways.erase(way);
      }
    }
  }
  return table.Take();
}

}  // namespace

Scenario Mtu() {
  constexpr int kWays = 3, kSteps = 6;
  return {.name = "mtu",
          .description = "one flow over tunnels of MTU 1280 to 65,000",
          .default_repeat = 5,
          .run = Run,
          .start_s = 2,
          .repeat_s = 2,
          .repeat_durations = kWays * kSteps};
}

}  // namespace im::bench
