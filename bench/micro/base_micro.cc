// Checksums, and the cutting of super-packets.

#include <benchmark/benchmark.h>

#include "base/checksum.h"
#include "base/segment_split.h"
#include "bench/micro/packets.h"

namespace im::bench {
namespace {

void Checksum(benchmark::State& state) {
  std::vector<uint8_t> bytes(static_cast<size_t>(state.range(0)), 0x5a);
  for (auto _ : state) benchmark::DoNotOptimize(FoldSum(SumBytes(bytes)));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(Checksum)->Arg(20)->Arg(64)->Arg(1420)->Arg(65'000);

void GsoSplit(benchmark::State& state) {
  std::vector<uint8_t> bytes = TcpPacket(kSegments * kSegmentBytes);
  const Packet packet = SuperPacket(bytes);
  std::vector<uint8_t> out(kPacketBytesMax + kSegments * 100);
  for (auto _ : state) {
    const SegmentSplitter segments(packet);
    uint8_t* place = out.data();
    for (size_t i = 0; i < segments.count(); ++i) {
      segments.Write(i, {place, segments.size(i)});
      place += segments.size(i);
    }
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes.size()));
}
BENCHMARK(GsoSplit);

}  // namespace
}  // namespace im::bench
