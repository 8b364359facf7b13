// The scenarios of latency, over every way, programs that embed the stack among them:
//
//   tcp_rr             a byte there and back over an open connection
//   tcp_rr_under_load  the same, one due every two milliseconds, while a flow
//                      goes as fast as it can beside it. Each is sent when it is
//                      due, whether those before are back or not, and takes from
//                      then (open loop): a slow answer delays nobody who is to come.
//   tcp_crr            connect, a byte there and back, close
//   udp_rr             a datagram there and back
//
// Percentiles are of all trips of a repetition (latencies.h).

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "bench/latencies.h"
#include "bench/scenario.h"
#include "bench/ways.h"

namespace im::bench {
namespace {

constexpr int kTripsPerSecond = 2000;  // of measurement
constexpr int kIntervalUs = 2000;
constexpr int kConnection = 1;
constexpr int kBulkConnection = 1;

int Trips(const RunOptions& options) {
  return std::max(100, static_cast<int>(options.duration_s * kTripsPerSecond));
}

absl::Status AddPercentiles(Process& driver, const std::string& command, int count,
                            const Way& way, Table& table) {
  IM_ASSIGN_OR_RETURN(const Percentiles percentiles, AskTrips(driver, command, count));
  percentiles.AddTo(table, "", way.name());
  return absl::OkStatus();
}

// Of one way, with a driver started for it.
using Measurement = std::function<absl::Status(Process& driver, const Way&, Table&)>;

struct Trip {
  bool needs_udp = false;
  std::string embedded;  // the same as a command of im-embedded-peer
  int count = 0;         // of it
};

Scenario::Body OverAllWays(const std::string& scenario, const Measurement& measure,
                           const Trip& trip) {
  return [=](const RunOptions& options) -> absl::StatusOr<std::vector<Row>> {
    IM_ASSIGN_OR_RETURN(const auto ways, Ways::Up(options));
    Table table(scenario);
    ways->Measure(options, table, [&](const Way& way, Table& to) -> absl::Status {
      if (Embedded* const programs = way.embedded())
        return AddPercentiles(programs->peers[0], trip.embedded, trip.count, way, to);
      if (trip.needs_udp && !way.has_udp()) return absl::OkStatus();
      IM_ASSIGN_OR_RETURN(Process driver, way.Drive());
      return measure(driver, way, to);
    });
    return table.Take();
  };
}

std::string ConnectTo(const Way& way, int connection, int port) {
  return absl::StrCat("connect ", connection, " ", way.server(), " ", port);
}

}  // namespace

Scenario TcpRr() {
  const auto run = [](const RunOptions& options) {
    const int count = Trips(options);
    return OverAllWays(
        "tcp_rr",
        [&](Process& driver, const Way& way, Table& to) -> absl::Status {
          IM_RETURN_IF_ERROR(AskUntilOk(driver, ConnectTo(way, kConnection, kEchoPort)));
          return AddPercentiles(driver, absl::StrCat("trips ", kConnection, " 1 ", count, " 0"),
                                count, way, to);
        },
        {.embedded = absl::StrCat("ping ", count), .count = count})(options);
  };
  return {.name = "tcp_rr",
          .description = "a byte there and back over TCP",
          .default_repeat = 5,
          .run = run,
          .start_s = 4,
          .repeat_s = 4,
          .repeat_durations = 1};
}

Scenario TcpRrUnderLoad() {
  const auto run = [](const RunOptions& options) {
    const int count = std::max(100, static_cast<int>(options.duration_s * 1e6 / kIntervalUs));
    return OverAllWays(
        "tcp_rr_under_load",
        [&](Process& driver, const Way& way, Table& to) -> absl::Status {
          // The flow ends with its process.
          IM_ASSIGN_OR_RETURN(Process beside, way.Drive());
          IM_RETURN_IF_ERROR(AskUntilOk(beside, ConnectTo(way, kBulkConnection, kSinkPort)));
          IM_RETURN_IF_ERROR(beside.WriteLine(absl::StrCat("stream ", kBulkConnection, " 3600000")));
          IM_RETURN_IF_ERROR(AskUntilOk(driver, ConnectTo(way, kConnection, kEchoPort)));
          return AddPercentiles(
              driver, absl::StrCat("trips ", kConnection, " 1 ", count, " ", kIntervalUs), count,
              way, to);
        },
        {.embedded = absl::StrCat("loaded ", count, " ", kIntervalUs), .count = count})(options);
  };
  return {.name = "tcp_rr_under_load",
          .description = "the same beside a bulk flow, open loop",
          .default_repeat = 5,
          .run = run,
          .start_s = 4,
          .repeat_s = 4,
          .repeat_durations = 7};
}

Scenario TcpCrr() {
  constexpr int kShare = 4;  // of the trips: each is several
  const auto run = [](const RunOptions& options) {
    const int count = Trips(options) / kShare;
    return OverAllWays(
        "tcp_crr",
        [&](Process& driver, const Way& way, Table& to) -> absl::Status {
          return AddPercentiles(driver,
                                absl::StrCat("crr ", way.server(), " ", kEchoPort, " ", count),
                                count, way, to);
        },
        {.embedded = absl::StrCat("crr ", count), .count = count})(options);
  };
  return {.name = "tcp_crr",
          .description = "connect, a byte there and back, close",
          .default_repeat = 5,
          .run = run,
          .start_s = 4,
          .repeat_s = 4,
          .repeat_durations = 2};
}

Scenario UdpRr() {
  const auto run = [](const RunOptions& options) {
    const int count = Trips(options);
    return OverAllWays(
        "udp_rr",
        [&](Process& driver, const Way& way, Table& to) -> absl::Status {
          return AddPercentiles(
              driver, absl::StrCat("udp-trips ", way.server(), " ", kUdpPort, " ", count), count,
              way, to);
        },
        {.needs_udp = true, .embedded = absl::StrCat("udp ", count), .count = count})(options);
  };
  return {.name = "udp_rr",
          .description = "a datagram there and back",
          .default_repeat = 5,
          .run = run,
          .start_s = 4,
          .repeat_s = 4,
          .repeat_durations = 1};
}

}  // namespace im::bench
