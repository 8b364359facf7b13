#include "netstack/receive_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace im::netstack {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// A peer that sends at `bytes_per_second` over a path of `rtt`, as far as the
// window lets it, to a program that reads at once. Returns the last window.
uint32_t WindowFor(uint64_t bytes_per_second, Duration rtt, Duration time,
                   uint64_t most = kReceiveWindowsGrownMax) {
  Instant now{};
  ReceiveWindow window(now);
  const Duration step = std::max<Duration>(rtt / 50, microseconds(20));
  // What was offered and read comes back as room after a round trip.
  std::vector<std::pair<Instant, uint32_t>> reads = {{now + rtt, window.bytes()}};
  uint64_t room = 0;
  uint64_t grown = 0;
  size_t first = 0;
  for (const Instant end = now + time; now < end; now += step) {
    while (first < reads.size() && reads[first].first <= now) room += reads[first++].second;
    const auto wanted = static_cast<uint64_t>(
        static_cast<double>(bytes_per_second) * std::chrono::duration<double>(step).count());
    const auto n = static_cast<uint32_t>(std::min(wanted, room));
    room -= n;
    const uint32_t more = window.OnRead(n, most - grown, now);
    grown += more;
    reads.push_back({now + rtt, n + more});
  }
  return window.bytes();
}

TEST(ReceiveWindowTest, GrowsToWhatALongPathCarries) {
  // 1 Gb/s over 80 ms: 10 MB under way.
  const uint32_t window = WindowFor(125'000'000, milliseconds(80), std::chrono::seconds(4));
  EXPECT_GE(window, 10'000'000u);
  EXPECT_LE(window, 25'000'000u);
}

TEST(ReceiveWindowTest, StaysSmallOverAShortPath) {
  EXPECT_LT(WindowFor(125'000'000, microseconds(200), std::chrono::seconds(4)),
            3 * kReceiveWindowFirst);
}

TEST(ReceiveWindowTest, ASlowPeerDoesNotMakeItGrow) {
  EXPECT_LT(WindowFor(1'000'000, milliseconds(80), std::chrono::seconds(100)),
            3 * kReceiveWindowFirst);
}

TEST(ReceiveWindowTest, HasABound) {
  EXPECT_EQ(WindowFor(12'500'000'000, milliseconds(80), std::chrono::seconds(5)),
            kReceiveWindowMax);
}

TEST(ReceiveWindowTest, GrowsByNoMoreThanItIsGiven) {
  EXPECT_EQ(WindowFor(125'000'000, milliseconds(80), std::chrono::seconds(5), 1'000'000),
            kReceiveWindowFirst + 1'000'000);
}

}  // namespace
}  // namespace im::netstack
