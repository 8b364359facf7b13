// One direction of a network path, for tests: a bottleneck with a queue, then
// a delay; packets are lost and overtaken at random, by seed. Time is the
// loop's, so under a ManualClock a minute takes as long as its packets do.
// Super-packets are cut first, as a NIC would.

#ifndef IM_NETSTACK_SIMULATED_PATH_H_
#define IM_NETSTACK_SIMULATED_PATH_H_

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "base/ip_header.h"
#include "base/packet_sink.h"
#include "base/random.h"
#include "base/segment_split.h"

namespace im::netstack {

class SimulatedPath final : public PacketSink {
 public:
  struct Options {
    uint64_t seed = 1;
    Duration delay{0};
    int lost_per_million = 0;
    // These come late, by a quarter of the delay.
    int late_per_million = 0;
    uint64_t bits_per_second = 200'000'000;
    // Beyond it packets are lost.
    size_t queue_bytes = 1 << 20;
    // TCP segments of more bytes are cut, as a tunnel does for a path that
    // carries less than the interface takes.
    uint16_t segment_bytes_max = 0xffff;
  };
  struct Counters {
    uint64_t packets = 0;
    uint64_t lost = 0;      // at random
    uint64_t overflow = 0;  // at the bottleneck
  };

  SimulatedPath(EventLoop& loop, const Options& options)
      : loop_(loop), options_(options), random_(options.seed) {}

  void Attach(PacketSink& far) { far_ = &far; }
  const Counters& counters() const { return counters_; }

  void Write(PacketBatch batch) override {
    for (Packet& packet : batch) {
      if (const auto view = ParseIp(packet.bytes());
          view.has_value() && view->is_tcp() && view->payload_size() > options_.segment_bytes_max)
        packet.segment_size = options_.segment_bytes_max;
      const SegmentSplitter segments(packet);
      for (size_t i = 0; i < segments.count(); ++i) {
        std::vector<uint8_t> bytes(segments.size(i));
        segments.Write(i, bytes);
        Send(std::move(bytes));
      }
    }
    Arm();
  }

 private:
  void Send(std::vector<uint8_t> bytes) {
    const Instant now = loop_.now();
    ++counters_.packets;
    const Instant free_at = std::max(free_at_, now);
    const auto waiting = static_cast<uint64_t>((free_at - now).count()) / 8 *
                         (options_.bits_per_second / 1'000'000) / 1000;
    if (waiting > options_.queue_bytes) {
      ++counters_.overflow;
      return;
    }
    free_at_ = free_at + std::chrono::nanoseconds(uint64_t{bytes.size()} * 8 * 1'000'000'000 /
                                                  options_.bits_per_second);
    if (Happens(options_.lost_per_million)) {
      ++counters_.lost;
      return;
    }
    Instant due = free_at_ + options_.delay;
    if (Happens(options_.late_per_million)) due += options_.delay / 4;
    under_way_.emplace(due, std::move(bytes));
  }

  bool Happens(int per_million) {
    return per_million > 0 && random_.Below(1'000'000) < static_cast<uint64_t>(per_million);
  }

  void Arm() {
    if (under_way_.empty() || under_way_.begin()->first >= armed_for_) return;
    armed_for_ = under_way_.begin()->first;
    timer_ = loop_.At(armed_for_, [this] { Deliver(); });
  }

  void Deliver() {
    armed_for_ = kNever;
    PacketBatch batch;
    while (!under_way_.empty() && under_way_.begin()->first <= loop_.now()) {
      batch.AppendCopy(under_way_.begin()->second).checksum_valid = true;
      under_way_.erase(under_way_.begin());
    }
    Arm();
    if (!batch.empty()) far_->Write(std::move(batch));
  }

  EventLoop& loop_;
  const Options options_;
  SeededRandom random_;
  PacketSink* far_ = nullptr;
  Instant free_at_;  // when the bottleneck has sent what it has
  std::multimap<Instant, std::vector<uint8_t>> under_way_;
  EventLoop::Timer timer_;
  Instant armed_for_ = kNever;
  Counters counters_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_SIMULATED_PATH_H_
