// tcp_stream: TCP as fast as it goes, over every way: 1, 8 and 128 flows to the
// server, one from it, and one in both directions at once; with the machine's
// processor time for a gigabyte and the memory of who carries it.

#include "absl/strings/str_cat.h"
#include "bench/iperf3.h"
#include "bench/scenario.h"
#include "bench/ways.h"

namespace im::bench {
namespace {

struct Load {
  std::string name;
  std::vector<std::string> arguments;  // of iperf3
  int flows;
  Direction direction;
};

const std::vector<Load>& Loads() {
  static const auto* const loads = new std::vector<Load>{
      {"1 flow up", {"-P", "1"}, 1, Direction::kUp},
      {"8 flows up", {"-P", "8"}, 8, Direction::kUp},
      {"128 flows up", {"-P", "128"}, 128, Direction::kUp},
      {"1 flow down", {"-P", "1", "-R"}, 1, Direction::kDown},
      {"1 flow both ways", {"-P", "1", "--bidir"}, 1, Direction::kBoth},
  };
  return *loads;
}

absl::StatusOr<Throughput> Measure(const Way& way, const Load& load, double duration_s) {
  if (Embedded* const programs = way.embedded())
    return StreamEmbedded(*programs, load.flows, duration_s, load.direction);
  return MeasureThroughput(way, duration_s, load.arguments);
}

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  IM_ASSIGN_OR_RETURN(const auto ways, Ways::Up(options));
  Table table("tcp_stream");
  ways->Measure(options, table, [&](const Way& way, Table& to) -> absl::Status {
    for (const Load& load : Loads()) {
      if (options.quick && &load != &Loads().front()) break;
      IM_ASSIGN_OR_RETURN(const Throughput throughput,
                          Measure(way, load, options.duration_s));
      throughput.AddTo(to, load.name, way.name());
    }
    return absl::OkStatus();
  });
  return table.Take();
}

}  // namespace

Scenario TcpStream() {
  constexpr int kWays = 9;
  return {.name = "tcp_stream",
          .description = "throughput of TCP: 1, 8, 128 flows, up, down, both ways",
          .default_repeat = 5,
          .run = Run,
          .start_s = 4,
          .repeat_durations = 5 * kWays};
}

}  // namespace im::bench
