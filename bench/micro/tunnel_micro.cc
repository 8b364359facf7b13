// The tunnel's inner parts: sealing and opening of a batch, cryptokey routing,
// the replay window, and the merging of what was opened.

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "bench/micro/packets.h"
#include "tunnel/aead.h"
#include "tunnel/allowed_ips.h"
#include "tunnel/coalesce.h"
#include "tunnel/ipsec_mb.h"
#include "tunnel/replay_window.h"

namespace im::bench {
namespace {

using namespace im::tunnel;

// kSegments messages, one after the other in memory.
class AeadBatch {
 public:
  explicit AeadBatch(uint32_t bytes)
      : memory_(kSegments * (bytes + kTagBytes)), sealed_(memory_.size()) {
    SeededRandom(1).Fill(memory_);
    for (size_t i = 0; i < kSegments; ++i) {
      const size_t place = i * (bytes + kTagBytes);
      seal_.push_back({.in = &memory_[place], .out = &sealed_[place], .size = bytes, .counter = i});
      open_.push_back({.in = &sealed_[place], .out = &memory_[place], .size = bytes, .counter = i});
    }
  }
  std::span<AeadJob> to_seal() { return seal_; }
  std::span<AeadJob> to_open() { return open_; }

 private:
  std::vector<uint8_t> memory_, sealed_;
  std::vector<AeadJob> seal_, open_;
};

SecretKey SomeKey() {
  SecretKey key;
  SeededRandom(2).Fill(key.bytes());
  return key;
}

bool CanUse(benchmark::State& state, AeadLibrary library) {
  InitCrypto();
  if (library != AeadLibrary::kIpsecMb || IpsecMb::OfThread() != nullptr) return true;
  state.SkipWithError("IPsec-MB cannot be used here");
  return false;
}

void AeadSeal(benchmark::State& state, AeadLibrary library) {
  if (!CanUse(state, library)) return;
  AeadBatch batch(static_cast<uint32_t>(state.range(0)));
  AeadSealer sealer(SomeKey(), library);
  for (auto _ : state) sealer.Seal(batch.to_seal());
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kSegments) * state.range(0));
}
BENCHMARK_CAPTURE(AeadSeal, ipsec_mb, AeadLibrary::kIpsecMb)->Arg(1424)->Arg(8928);
BENCHMARK_CAPTURE(AeadSeal, openssl, AeadLibrary::kOpenSsl)->Arg(1424)->Arg(8928);

void AeadOpen(benchmark::State& state, AeadLibrary library) {
  if (!CanUse(state, library)) return;
  AeadBatch batch(static_cast<uint32_t>(state.range(0)));
  AeadSealer(SomeKey(), library).Seal(batch.to_seal());
  AeadOpener opener(SomeKey(), library);
  for (auto _ : state) opener.Open(batch.to_open());
  for (const AeadJob& job : batch.to_open()) {
    if (!job.ok) state.SkipWithError("what was sealed did not open");
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kSegments) * state.range(0));
}
BENCHMARK_CAPTURE(AeadOpen, ipsec_mb, AeadLibrary::kIpsecMb)->Arg(1424)->Arg(8928);
BENCHMARK_CAPTURE(AeadOpen, openssl, AeadLibrary::kOpenSsl)->Arg(1424)->Arg(8928);

constexpr uint32_t kFirstAddress = 0x0a000000;
constexpr size_t kLookups = 1024;  // addresses asked for in turn

// `length`: of all prefixes. Host routes are found by a hash, others in the trie.
void AllowedIpsLookup(benchmark::State& state, int length) {
  AllowedIps table;
  const auto count = static_cast<uint32_t>(state.range(0));
  for (uint32_t i = 0; i < count; ++i) {
    const IpAddress address = IpAddress::V4(kFirstAddress + (i << (32 - length)));
    table.Insert(IpPrefix(address, length), i);
  }
  SeededRandom random(3);
  std::vector<IpAddress> wanted;
  for (size_t i = 0; i < kLookups; ++i) {
    const auto owner = static_cast<uint32_t>(random.Below(count));
    wanted.push_back(IpAddress::V4(kFirstAddress + (owner << (32 - length))));
  }
  size_t next = 0;
  for (auto _ : state) {
    if (table.Lookup(wanted[next++ % kLookups]) == AllowedIps::kNobody) {
      state.SkipWithError("an address has no owner");
      break;
    }
  }
}
BENCHMARK_CAPTURE(AllowedIpsLookup, hosts, 32)->RangeMultiplier(10)->Range(1, 1'000'000);
BENCHMARK_CAPTURE(AllowedIpsLookup, networks, 28)->RangeMultiplier(10)->Range(1, 1'000'000);

void ReplayInOrder(benchmark::State& state) {
  ReplayWindow window;
  uint64_t counter = 0;
  for (auto _ : state) benchmark::DoNotOptimize(window.Accept(counter++));
}
BENCHMARK(ReplayInOrder);

// Pairs in the wrong order, as two queues of a network card give them.
void ReplayOutOfOrder(benchmark::State& state) {
  ReplayWindow window;
  uint64_t counter = 0;
  for (auto _ : state) benchmark::DoNotOptimize(window.Accept(counter++ ^ 1));
}
BENCHMARK(ReplayOutOfOrder);

// `trusted`: checksums are not looked at, as between our own ends.
void Coalesce(benchmark::State& state, bool trusted) {
  const std::vector<std::vector<uint8_t>> train = Train();
  Coalescer coalescer;
  PacketBatch out;
  for (auto _ : state) {
    for (const auto& packet : train) coalescer.Add(packet, trusted);
    coalescer.Flush(out);
    if (out.size() != 1) state.SkipWithError("the train was not merged");
    out.Clear();
  }
  state.SetBytesProcessed(
      static_cast<int64_t>(state.iterations() * train.size() * train[0].size()));
}
BENCHMARK_CAPTURE(Coalesce, trusted, true);
BENCHMARK_CAPTURE(Coalesce, checked, false);

}  // namespace
}  // namespace im::bench
