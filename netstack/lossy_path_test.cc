// Throughput over a path that loses packets, in virtual time and by seed.
//
// One stack has both ends, each with an interface of its own, and every packet
// goes through a SimulatedPath. What is expected is a part of what the model
// of a TCP that only ever halves its window gives (Mathis et al.: 1.22 / √p
// segments a round trip), or of the path's rate where that is less.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "base/test_seeds.h"
#include "netstack/simulated_path.h"
#include "netstack/test_support.h"

namespace im::netstack {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr double kSegmentBits = 1380 * 8;

struct Case {
  Duration rtt;
  int lost_per_million = 0;
  int late_per_million = 0;
  uint64_t bits_per_second = 200'000'000;
  uint64_t seed = 1;
  int mtu = 1420;  // of the interface; the path's is 1420
  double least = 0.6;  // of what the model gives
};

std::string Describe(const Case& c) {
  char text[120];
  std::snprintf(text, sizeof(text), "%5.1f ms, %4d Mb/s, MTU %5d, %5d ppm lost, %5d ppm late",
                std::chrono::duration<double, std::milli>(c.rtt).count(),
                static_cast<int>(c.bits_per_second / 1'000'000), c.mtu, c.lost_per_million,
                c.late_per_million);
  return text;
}

void PrintTo(const Case& c, std::ostream* out) { *out << Describe(c) << ", seed " << c.seed; }

// Sends all the time.
class Source final : public TcpConnection::Handler {
 public:
  void OnConnected() override { Fill(); }
  void OnReadable() override {}
  void OnWritable() override { Fill(); }
  void OnReadClosed() override {}
  void OnClosed(const absl::Status& status) override { ended = status.ToString(); }
  void Fill() {
    uint8_t buffer[16384];
    for (;;) {
      for (size_t i = 0; i < sizeof(buffer); ++i) buffer[i] = PatternByte(sent + i);
      const size_t n = connection->Write(buffer);
      sent += n;
      if (n < sizeof(buffer)) return;
    }
  }
  std::unique_ptr<TcpConnection> connection;
  uint64_t sent = 0;
  std::string ended;
};

class Target final : public TcpConnection::Handler {
 public:
  void OnReadable() override {
    static uint8_t buffer[65536];
    while (const size_t n = connection->Read(buffer)) {
      for (size_t i = 0; i < n; ++i) wrong += buffer[i] != PatternByte(received + i);
      received += n;
    }
  }
  void OnReadClosed() override {}
  void OnClosed(const absl::Status&) override {}
  std::unique_ptr<TcpConnection> connection;
  uint64_t received = 0;
  uint64_t wrong = 0;
};

class LossyPathTest : public ::testing::TestWithParam<Case> {
 protected:
  LossyPathTest()
      : loop_(EventLoop::Create(clock_).value()),
        there_(*loop_, PathOptions(1)),
        back_(*loop_, PathOptions(2)),
        stack_(*loop_) {
    const int mtu = GetParam().mtu;
    back_.Attach(
        *stack_.AddInterface({.name = "a", .address = kNear, .prefix_length = 16, .mtu = mtu}, there_)
             .value());
    there_.Attach(
        *stack_.AddInterface({.name = "b", .address = kFar, .prefix_length = 16, .mtu = mtu}, back_)
             .value());
  }

  SimulatedPath::Options PathOptions(uint64_t direction) const {
    const Case& c = GetParam();
    return {.seed = c.seed * 2 + direction, .delay = c.rtt / 2,
            .lost_per_million = c.lost_per_million, .late_per_million = c.late_per_million,
            .bits_per_second = c.bits_per_second, .segment_bytes_max = 1380};
  }

  void Run(Duration by) {
    const Instant end = clock_.Now() + by;
    while (clock_.Now() < end) {
      loop_->RunOnce(Duration::zero());
      const Instant next = std::min(loop_->NextDeadline(), end);
      if (next > clock_.Now()) clock_.Advance(next - clock_.Now());
    }
  }

  // Bits a second of one flow that runs for `time`.
  double Transfer(Duration time) {
    auto listener = stack_.Listen({kFar, 7}, [&](auto connection) {
      target_.connection = std::move(connection);
      target_.connection->SetHandler(&target_);
    });
    source_.connection =
        stack_.Dial({.remote = {kFar, 7}, .local = Endpoint{kNear, 0}}, &source_).value();
    Run(time);
    EXPECT_EQ(target_.wrong, 0u);
    EXPECT_EQ(source_.ended, "");
    return static_cast<double>(target_.received) * 8 /
           std::chrono::duration<double>(time).count();
  }

  static inline const IpAddress kNear = IpAddress::V4(0x0a4d0001);
  static inline const IpAddress kFar = IpAddress::V4(0x0a4e0001);

  ManualClock clock_;
  std::unique_ptr<EventLoop> loop_;
  SimulatedPath there_;
  SimulatedPath back_;
  Stack stack_;
  Source source_;
  Target target_;
};

TEST_P(LossyPathTest, CarriesWhatALossyPathAllows) {
  const Case& c = GetParam();
  const double rtt_s = std::chrono::duration<double>(c.rtt).count();
  double expected = static_cast<double>(c.bits_per_second);
  if (c.lost_per_million > 0)
    expected = std::min(expected,
                        1.22 / std::sqrt(c.lost_per_million / 1e6) * kSegmentBits / rtt_s);
  const bool whole = LongTests();  // as long as kernel_path_test.cc
  Duration time = milliseconds(150);
  if (c.rtt >= milliseconds(1)) time = milliseconds(whole ? 10'000 : 500);
  if (c.rtt >= milliseconds(20)) time = seconds(whole ? 20 : 5);
  const double got = Transfer(time);
  std::printf("  %s: %7.2f Mb/s, %3.0f %% of what the model gives; %lu lost, %lu by overflow\n",
              Describe(c).c_str(), got / 1e6, 100 * got / expected,
              static_cast<unsigned long>(there_.counters().lost),
              static_cast<unsigned long>(there_.counters().overflow));
  EXPECT_GT(got, c.least * expected);
}

std::vector<Case> Sweep() {
  std::vector<Case> cases;
  for (const int rtt_ms : {1, 20, 80})
    for (const int lost : {0, 100, 1000, 10'000}) cases.push_back({milliseconds(rtt_ms), lost});
  // Fast and near, where a pause for a timer costs most.
  for (const int lost : {0, 100, 1000})
    cases.push_back({.rtt = microseconds(200), .lost_per_million = lost,
                     .bits_per_second = 5'000'000'000});
  // Fast and far: windows must grow.
  for (const int rtt_ms : {20, 80})
    for (const int lost : {0, 1000, 10'000})
      cases.push_back({.rtt = milliseconds(rtt_ms), .lost_per_million = lost,
                       .bits_per_second = 1'000'000'000});
  // Slow start goes on until the queue of a tenth of a round trip overflows, and
  // the rest of the time is too short to win all of it back. With windows of 2 MB
  // it could be no more than a fifth.
  cases[cases.size() - 3].least = 0.25;
  // A machine's or data centre's own network.
  for (const int lost : {0, 100, 1000, 10'000})
    cases.push_back({.rtt = milliseconds(1), .lost_per_million = lost,
                     .bits_per_second = 1'000'000'000});
  // The segments of lwIP are what the tunnel takes, not what the path carries:
  // a lost packet is a small part of one.
  for (const int lost : {0, 100, 1000, 10'000})
    cases.push_back({.rtt = milliseconds(1), .lost_per_million = lost,
                     .bits_per_second = 1'000'000'000, .mtu = 65'475});
  for (const int lost : {100, 1000})
    cases.push_back({.rtt = milliseconds(20), .lost_per_million = lost, .mtu = 65'475});
  // Nothing lost, but not in order.
  cases.push_back({.rtt = milliseconds(20), .late_per_million = 20'000});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Sweep, LossyPathTest, ::testing::ValuesIn(Sweep()));

}  // namespace
}  // namespace im::netstack
