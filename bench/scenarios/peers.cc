// peers: a hub with 1, 10, 100 and 1,000 tunnel peers that all send to it: what
// it takes, what that costs it, and its memory. handshakes: how many sessions it
// makes in a second when a thousand peers begin anew at once. im-tunnel beside
// other tunnels.

#include "absl/strings/str_cat.h"
#include "bench/hub.h"
#include "bench/scenario.h"

namespace im::bench {
namespace {

constexpr int kCounts[] = {1, 10, 100, 1000};
constexpr int kCountWhenQuick = 10;
constexpr int kHandshakers = 1000;
constexpr int kHandshakersWhenQuick = 100;

// Each hub in turn, options.repeat times; one that fails is left out.
void Measure(const RunOptions& options, std::vector<std::unique_ptr<Hub>> hubs, int done,
             int of, const std::function<absl::Status(Hub&)>& measure) {
  for (int i = 0; i < options.repeat; ++i) {
    for (auto hub = hubs.begin(); hub != hubs.end();) {
      options.progress((done + static_cast<double>(i) / options.repeat) / of, (*hub)->name());
      const absl::Status status = measure(**hub);
      if (!status.ok()) options.skip((*hub)->name(), std::string(status.message()), /*failed=*/true);
      hub = status.ok() ? hub + 1 : hubs.erase(hub);
    }
  }
}

absl::StatusOr<std::vector<Row>> RunPeers(const RunOptions& options) {
  Table table("peers");
  int done = 0;
  for (const int count : kCounts) {
    if (options.quick && count != kCountWhenQuick) continue;
    const std::string what = absl::StrCat(count, count == 1 ? " peer" : " peers");
    std::vector<std::unique_ptr<Hub>> hubs = HubsOfAll(options, count);
    for (const auto& hub : hubs) {
      table.Add(what + ", memory at start", hub->name(), "MB", hub->ResidentMegabytes());
    }
    Measure(options, std::move(hubs), done++, options.quick ? 1 : std::size(kCounts),
            [&](Hub& hub) -> absl::Status {
              IM_RETURN_IF_ERROR(hub.Connect().status());
              IM_ASSIGN_OR_RETURN(const Hub::Stream stream, hub.Receive(options.duration_s));
              table.Add(what, hub.name(), "Gb/s", stream.gigabits_per_s);
              table.Add(what + ", processor time", hub.name(), "s/GB", stream.processor_s_per_gb);
              table.Add(what + ", memory", hub.name(), "MB", hub.ResidentMegabytes());
              return absl::OkStatus();
            });
  }
  return table.Take();
}

absl::StatusOr<std::vector<Row>> RunHandshakes(const RunOptions& options) {
  Table table("handshakes");
  const int count = options.quick ? kHandshakersWhenQuick : kHandshakers;
  Measure(options, HubsOfAll(options, count), 0, 1, [&](Hub& hub) -> absl::Status {
    IM_ASSIGN_OR_RETURN(const Hub::Handshakes handshakes, hub.Connect());
    table.Add("sessions", hub.name(), "1/s", handshakes.per_second);
    table.Add("one, processor time", hub.name(), "us", handshakes.processor_us);
    return absl::OkStatus();
  });
  return table.Take();
}

}  // namespace

Scenario Peers() {
  return {.name = "peers",
          .description = "a hub with 1, 10, 100, 1,000 peers: throughput, memory",
          .default_repeat = 5,
          .run = RunPeers,
          .start_s = 8,
          .repeat_s = 8,
          .repeat_durations = 8};
}

Scenario Handshakes() {
  return {.name = "handshakes",
          .description = "sessions a second of a thousand peers that begin at once",
          .default_repeat = 5,
          .run = RunHandshakes,
          .start_s = 4,
          .repeat_s = 6};
}

}  // namespace im::bench
