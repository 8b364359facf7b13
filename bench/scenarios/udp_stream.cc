// udp_stream: datagrams at growing rates over every way that carries UDP: how
// many arrive, and what share is lost; of 1400-byte packets, and of tiny ones as
// fast as the sender can; with the machine's processor time for a gigabyte that
// arrives and the memory of who carries it. The receiver's buffer is as large as the kernel allows
// (4 MB at most), since with the usual one it is the bottleneck of all ways.

#include <algorithm>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "bench/iperf3.h"
#include "bench/scenario.h"
#include "bench/ways.h"

namespace im::bench {
namespace {

struct Step {
  std::string name;
  int payload_bytes;
  int megabits_per_s;  // of payload; 0: no limit
};

const std::vector<Step>& Ladder() {
  // IPv4 and UDP headers take 28 bytes.
  static const auto* const ladder = new std::vector<Step>{
      {"1400 B at 0.5 Gb/s", 1372, 500}, {"1400 B at 1 Gb/s", 1372, 1000},
      {"1400 B at 2 Gb/s", 1372, 2000},  {"1400 B, no limit", 1372, 0},
      {"64 B, no limit", 36, 0},
  };
  return *ladder;
}

std::string ReceiveBufferBytes() {
  constexpr long kWanted = 4 << 20;
  long allowed = 0;
  std::ifstream("/proc/sys/net/core/rmem_max") >> allowed;
  return absl::StrCat(std::min(kWanted, allowed));
}

absl::StatusOr<Throughput> Measure(const Way& way, const Step& step, double duration_s) {
  if (Embedded* const programs = way.embedded())
    return SendEmbeddedDatagrams(*programs, step.payload_bytes, step.megabits_per_s, duration_s);
  return MeasureThroughput(way, duration_s,
                           {"-u", "-b", absl::StrCat(step.megabits_per_s, "M"), "-l",
                            absl::StrCat(step.payload_bytes), "-w", ReceiveBufferBytes()});
}

absl::StatusOr<std::vector<Row>> Run(const RunOptions& options) {
  IM_ASSIGN_OR_RETURN(const auto ways, Ways::Up(options));
  Table table("udp_stream");
  ways->Measure(options, table, [&](const Way& way, Table& to) -> absl::Status {
    if (!way.has_udp()) return absl::OkStatus();
    for (const Step& step : Ladder()) {
      if (options.quick && &step != &Ladder().front()) break;
      IM_ASSIGN_OR_RETURN(const Throughput throughput, Measure(way, step, options.duration_s));
      throughput.AddTo(to, step.name, way.name());
      to.Add(step.name + ", lost", way.name(), "%", throughput.lost_percent);
    }
    return absl::OkStatus();
  });
  return table.Take();
}

}  // namespace

Scenario UdpStream() {
  constexpr int kWays = 8;
  return {.name = "udp_stream",
          .description = "datagrams at growing rates: what arrives, what is lost",
          .default_repeat = 3,
          .run = Run,
          .start_s = 4,
          .repeat_durations = 5 * kWays};
}

}  // namespace im::bench
