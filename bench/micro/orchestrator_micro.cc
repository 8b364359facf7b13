// The orchestrator's inner parts: a host's states, finding it, held packets.

#include <benchmark/benchmark.h>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/ip_header.h"
#include "bench/micro/packets.h"
#include "orchestrator/held_packets.h"
#include "orchestrator/host_table.h"

namespace im::bench {
namespace {

using namespace im::orchestrator;

constexpr uint32_t kFirstHost = 0x0a4d0000;

void Fill(HostTable& table, int64_t count) {
  for (uint32_t i = 0; i < static_cast<uint32_t>(count); ++i) {
    const auto added = table.Add({.name = absl::StrCat("host-", i + 1),
                                  .address = IpAddress::V4(kFirstHost + i)},
                                 Instant());
    IM_CHECK(added.ok());
  }
}

// A host's life in five edges; the next host's after it.
void HostTableApply(benchmark::State& state) {
  HostTable table;
  Fill(table, state.range(0));
  constexpr HostState kLife[] = {HostState::kStarting, HostState::kRunning, HostState::kPaused,
                                 HostState::kReleasing, HostState::kImaginary};
  uint64_t incarnation = 0;
  HostId host = 0;
  for (auto _ : state) {
    ++incarnation;
    for (const HostState to : kLife) {
      Transition transition{.host = host, .to = to, .incarnation = incarnation};
      table.Apply(transition);
    }
    host = (host + 1) % static_cast<HostId>(state.range(0));
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * std::size(kLife)));
}
BENCHMARK(HostTableApply)->Arg(1)->Arg(1'000)->Arg(100'000);

void HostTableFindByAddress(benchmark::State& state) {
  HostTable table;
  Fill(table, state.range(0));
  uint32_t next = 0;
  for (auto _ : state) {
    next = (next + 7919) % static_cast<uint32_t>(state.range(0));
    benchmark::DoNotOptimize(table.FindByAddress(IpAddress::V4(kFirstHost + next)));
  }
}
BENCHMARK(HostTableFindByAddress)->Arg(1)->Arg(1'000)->Arg(100'000);

// SYNs of `range` callers of one host, held, then taken for delivery.
void HeldPacketsEnqueueAndTake(benchmark::State& state) {
  std::vector<std::vector<uint8_t>> syns;
  for (int64_t i = 0; i < state.range(0); ++i) {
    syns.push_back(BuildTcp({IpAddress::V4(kFirstHost), static_cast<uint16_t>(1024 + i)},
                            {IpAddress::V4(kFirstHost + 1), 6379},
                            {.sequence = 1, .flags = kTcpSyn, .window = 64'000}));
  }
  HeldPackets held;
  for (auto _ : state) {
    for (auto& syn : syns) {
      const Packet packet{.data = syn.data(), .size = static_cast<uint32_t>(syn.size())};
      if (held.Enqueue(1, packet, *ParseIp(packet.bytes()), Instant(), Instant()) !=
          HeldPackets::Result::kHeld) {
        state.SkipWithError("a SYN was not held");
      }
    }
    benchmark::DoNotOptimize(held.Take(1));
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * syns.size()));
}
BENCHMARK(HeldPacketsEnqueueAndTake)->Arg(1)->Arg(100)->Arg(500);

}  // namespace
}  // namespace im::bench
