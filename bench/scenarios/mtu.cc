// mtu: one TCP flow over im-tunnel, over other tunnels, over a plain veth pair, and
// between programs that embed the stack, at MTUs from 1280 to 65,000; with the
// machine's processor time for a gigabyte and the memory of who carries it. Below, a
// veth pair carries each of the tunnel's datagrams whole.

#include "absl/strings/str_cat.h"
#include "bench/embedded_pair.h"
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
  // Instead of all that: programs whose MTU does not change.
  std::unique_ptr<Embedded> embedded;
  int embedded_mtu = 0;

  bool Carries(int mtu) const {
    if (embedded != nullptr) return mtu == embedded_mtu;
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

absl::StatusOr<Way> StartPrograms(const std::string& name, const std::string& program, int mtu,
                                  int number, const std::string& peer) {
  Way way;
  way.name = name;
  way.embedded_mtu = mtu;
  IM_ASSIGN_OR_RETURN(auto pair, TunnelPair::Up("", number, peer));
  IM_ASSIGN_OR_RETURN(Embedded embedded, StartEmbedded(name, program, std::move(pair), mtu));
  way.embedded = std::make_unique<Embedded>(std::move(embedded));
  return way;
}

absl::Status MeasureOnce(const Way& way, int mtu, double duration_s, Table& table) {
  if (way.embedded != nullptr) {
    IM_ASSIGN_OR_RETURN(const Throughput throughput, StreamEmbedded(*way.embedded, 1, duration_s));
    throughput.AddTo(table, absl::StrCat("MTU ", mtu), way.name);
    return absl::OkStatus();
  }
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
  const auto add = [&](const std::string& name, absl::StatusOr<Way> way) {
    if (way.ok()) {
      ways.push_back(*std::move(way));
    } else {
      failed(name, way.status());
    }
  };
  const std::string peer = options.bin + "/im-peer";
  for (const auto& [name, program] : programs) add(name, Start(name, program, number++, peer));
  for (const auto& [name, program] : EmbeddedPrograms(options)) {
    for (const int mtu : kMtus) {
      if (options.quick && mtu != kMtuWhenQuick) continue;
      add(name, StartPrograms(name, program, mtu, number++, peer));
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
  constexpr int kWays = 4, kSteps = 6;
  return {.name = "mtu",
          .description = "one flow over tunnels of MTU 1280 to 65,000",
          .default_repeat = 5,
          .run = Run,
          .start_s = 2,
          .repeat_s = 2,
          .repeat_durations = kWays * kSteps};
}

}  // namespace im::bench
