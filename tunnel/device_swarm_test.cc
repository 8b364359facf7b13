// A hundred devices on a bad network under virtual time, by seed: loss,
// duplication, reordering, narrow paths, wall clocks that jump to and fro, NATs
// that forget their mappings, peers that are removed and come back. A failure
// names its seed; run it alone with IM_SIM_SEED=n. With IM_LONG=1 there are more.
//
// The first device is a hub that everybody knows and that never moves; every
// other one has a few direct peers. What must hold:
//  - nothing comes out twice, at the wrong place, or in another's name;
//  - timers do not storm, whatever goes on, and memory does not grow;
//  - when the trouble is over, every pair is in touch again, both ways, within
//    the protocol's bound (kBackWithin).

#include <gtest/gtest.h>
#include <malloc.h>

#include <charconv>
#include <map>
#include <set>
#include <string>

#include "base/test_seeds.h"
#include "tunnel/device.h"
#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Data without an answer makes a new handshake after 15 s and jitter ([W] 6.5),
// whose initiation may collide with one that was lost: another 5 s and jitter.
constexpr seconds kBackWithin{15 + 5 + 2};
// Wake-ups of one device in a second of trouble: three timers of each of its
// peers that are set anew all the time.
constexpr size_t kWakeupsPerPeerSecondMax = 3;
// Bytes that all devices together may hold more at the end than before.
constexpr size_t kGrowthBytesMax = 8 << 20;

class Swarm {
 public:
  struct Trouble {
    uint64_t loss = 0;         // percent
    uint64_t duplication = 0;  // percent
    int delay_ms = 0;          // of each datagram its own, up to this
    bool events = false;       // moves, removals, clocks
  };

  Swarm(uint64_t seed, size_t count, size_t direct) : network_(seed), dice_(seed * 104729) {
    for (size_t i = 0; i < count; ++i) network_.Add();
    for (size_t i = 0; i < count; ++i) places_[At(i).endpoint] = i;
    for (size_t i = 1; i < count; ++i) {
      AddPair(0, i);
      for (size_t k = 0; k < direct; ++k) {
        const size_t j = 1 + dice_.Below(count - 1);
        if (j != i) AddPair(std::min(i, j), std::max(i, j));
      }
    }
    for (auto& [pair, unused] : pairs_) Introduce(pair.first, pair.second);
  }

  void Set(const Trouble& trouble) { trouble_ = trouble; }
  size_t pairs() const { return pairs_.size(); }
  size_t wakeups() const { return wakeups_; }
  size_t datagrams() const { return datagrams_; }
  uint64_t Below(uint64_t n) { return dice_.Below(n); }

  // `packets` between random pairs in each tenth of a second.
  void Live(Duration time, int packets) {
    const Instant end = network_.clock.Now() + time;
    while (network_.clock.Now() < end) {
      if (trouble_.events) Event();
      for (int i = 0; i < packets; ++i) {
        const auto& [a, b] = AnyPair();
        Send(a, b, dice_.Below(4) == 0 ? 1400 : 0);
      }
      Pass(milliseconds(100));
    }
  }

  // A packet each way between all pairs every so often.
  void TalkAll(Duration time, Duration interval = seconds(1)) {
    for (Duration passed{0}; passed < time; passed += interval) {
      for (auto& [pair, unused] : pairs_) {
        Send(pair.first, pair.second, 0);
        Send(pair.second, pair.first, 0);
      }
      Pass(interval);
    }
  }

  // The orchestrator tells everybody where everybody is.
  void ReintroduceAll() {
    for (auto& [pair, unused] : pairs_) Introduce(pair.first, pair.second);
  }

  void ExpectEverybodyReaches() {
    std::map<std::pair<size_t, size_t>, size_t> before;
    for (auto& [pair, way] : ways_) before[pair] = way.received;
    TalkAll(seconds(1));
    Pass(seconds(2));
    for (auto& [pair, way] : ways_)
      EXPECT_GT(way.received, before[pair]) << pair.first << " to " << pair.second;
  }

  // All packets of every way arrived.
  void ExpectNothingLost() {
    for (auto& [pair, way] : ways_)
      EXPECT_EQ(way.received, way.sent) << pair.first << " to " << pair.second;
  }

  void Pass(Duration time) {
    const Instant end = network_.clock.Now() + time;
    Absorb();
    while (!::testing::Test::HasFailure()) {
      const Instant arrival = under_way_.empty() ? kNever : under_way_.begin()->first;
      const Instant next = std::min(arrival, network_.NextDeadline());
      if (next > end) break;
      if (next > network_.clock.Now()) network_.clock.Advance(next - network_.clock.Now());
      if (arrival <= network_.clock.Now()) {
        const WireDatagram datagram = std::move(under_way_.begin()->second);
        under_way_.erase(under_way_.begin());
        Deliver(datagram);
      } else {
        RunTimers();
      }
      Absorb();
    }
    network_.clock.Advance(end - network_.clock.Now());
  }

  size_t CountHandshakes() const { return handshakes_; }

 private:
  struct Way {
    size_t sent = 0;
    size_t received = 0;
    std::vector<bool> seen;
  };

  Node& At(size_t i) { return *network_.nodes[i]; }
  const std::pair<size_t, size_t>& AnyPair() { return order_[dice_.Below(order_.size())]; }

  void AddPair(size_t a, size_t b) {
    static constexpr size_t kCarries[] = {1300, 1440, 8940, 65475};
    if (!pairs_.emplace(std::pair(a, b), kCarries[dice_.Below(4)]).second) return;
    order_.emplace_back(a, b);
    order_.emplace_back(b, a);
    // Not to grow later.
    for (auto pair : {std::pair(a, b), std::pair(b, a)}) ways_[pair].seen.reserve(1 << 16);
  }

  void Introduce(size_t a, size_t b) {
    for (auto [of, peer] : {std::pair(a, b), std::pair(b, a)}) {
      PeerConfig config = network_.ConfigOf(At(peer));
      config.probe_mtu = (a + b) % 2 == 0;
      if (of != 0 && peer == 0) config.persistent_keepalive = seconds(25);
      if (of == 0 && At(0).device.GetPeer(At(peer).key())) config.endpoint.reset();
      network_.SetPeer(At(of), config);
    }
  }

  void Event() {
    const auto [a, b] = AnyPair();
    switch (dice_.Below(40)) {
      case 0: {  // a NAT forgets, or it moves
        if (a == 0) break;
        places_.erase(At(a).endpoint);
        At(a).endpoint.port = static_cast<uint16_t>(1024 + dice_.Below(60000));
        places_[At(a).endpoint] = a;
        break;
      }
      case 1:
        network_.clock.JumpWall(seconds(static_cast<int64_t>(dice_.Below(7200)) - 3600));
        break;
      case 2:  // restarted: it knows nothing of the other
        At(a).device.RemovePeer(At(b).key());
        Introduce(std::min(a, b), std::max(a, b));
        break;
      case 3:
        network_.Connect(At(a), At(b));
        break;
      default:
        break;
    }
  }

  void Send(size_t from, size_t to, size_t padding) {
    Way& way = ways_[{from, to}];
    std::string text = std::to_string(from) + ">" + std::to_string(to) + ":" +
                       std::to_string(way.sent++) + " ";
    way.seen.push_back(false);
    text.append(padding > text.size() + 28 ? padding - text.size() - 28 : 0, '.');
    network_.SendText(At(from), At(to), text);
  }

  void RunTimers() {
    for (const auto& node : network_.nodes) {
      if (node->device.NextDeadline() > network_.clock.Now()) continue;
      ++wakeups_;
      node->device.OnTimer(network_.clock.Now(), node->out);
      ASSERT_GT(node->device.NextDeadline(), network_.clock.Now()) << "a timer that never rests";
      network_.Collect(*node);
    }
  }

  void Absorb() {
    while (!network_.wire.empty()) {
      WireDatagram datagram = std::move(network_.wire.front());
      network_.wire.pop_front();
      ++datagrams_;
      if (datagram.type() == MessageType::kInitiation) ++handshakes_;
      if (dice_.Below(100) < trouble_.loss || !Fits(datagram)) continue;
      const int copies = dice_.Below(100) < trouble_.duplication ? 2 : 1;
      for (int i = 0; i < copies; ++i) {
        const auto delay = 1 + dice_.Below(static_cast<uint64_t>(trouble_.delay_ms) + 1);
        under_way_.emplace(network_.clock.Now() + milliseconds(delay), datagram);
      }
    }
    network_.log.clear();
    for (size_t i = 0; i < network_.nodes.size(); ++i) Check(i);
  }

  bool Fits(const WireDatagram& datagram) {
    const auto to = places_.find(datagram.to);
    const auto from = places_.find(datagram.from);
    if (to == places_.end() || from == places_.end()) return false;
    const auto pair = std::minmax(from->second, to->second);
    const auto carries = pairs_.find({pair.first, pair.second});
    return carries != pairs_.end() && datagram.bytes.size() <= carries->second + kTransportOverhead;
  }

  void Deliver(const WireDatagram& datagram) {
    const auto to = places_.find(datagram.to);
    if (to == places_.end()) return;
    Node& node = At(to->second);
    DatagramBatch batch;
    batch.AddCopy(datagram.from, datagram.bytes);
    node.device.OnDatagrams(batch, network_.clock.Now(), node.out);
    network_.Collect(node);
  }

  void Check(size_t i) {
    for (const ByteVector& packet : At(i).inbox) {
      const auto view = ParseIp(packet);
      ASSERT_TRUE(view);
      if (!view->is_udp()) continue;  // a device's own word about an MTU
      const std::string text(packet.begin() + view->payload_offset,
                             packet.begin() + view->total_size);
      size_t from = 0;
      size_t to = 0;
      size_t number = 0;
      const char* const end = text.data() + text.size();
      const char* at = std::from_chars(text.data(), end, from).ptr;
      at = std::from_chars(at + 1, end, to).ptr;
      std::from_chars(at + 1, end, number);
      ASSERT_EQ(to, i) << text;
      ASSERT_EQ(view->source, At(from).address) << text;
      Way& way = ways_.at({from, to});
      ASSERT_LT(number, way.sent) << text;
      ASSERT_FALSE(way.seen[number]) << text << " came twice";
      way.seen[number] = true;
      ++way.received;
    }
    At(i).inbox.clear();
  }

  TestNetwork network_;
  SeededRandom dice_;
  Trouble trouble_;
  std::map<Endpoint, size_t> places_;
  std::map<std::pair<size_t, size_t>, size_t> pairs_;  // and what their path carries
  std::vector<std::pair<size_t, size_t>> order_;
  std::map<std::pair<size_t, size_t>, Way> ways_;
  std::multimap<Instant, WireDatagram> under_way_;
  size_t wakeups_ = 0;
  size_t datagrams_ = 0;
  size_t handshakes_ = 0;
};

size_t BytesInUse() { return mallinfo2().uordblks; }

void RunSeed(uint64_t seed) {
  Swarm swarm(seed, 100, 2);
  swarm.Set({.loss = swarm.Below(30),
             .duplication = swarm.Below(30),
             .delay_ms = static_cast<int>(swarm.Below(300)),
             .events = true});
  swarm.Live(seconds(20), 20);
  const size_t bytes = BytesInUse();
  size_t wakeups = swarm.wakeups();
  swarm.Live(seconds(60), 20);
  EXPECT_LE(swarm.wakeups() - wakeups, 60 * 2 * swarm.pairs() * kWakeupsPerPeerSecondMax);

  swarm.Set({});
  swarm.ReintroduceAll();
  swarm.TalkAll(kBackWithin);
  swarm.ExpectEverybodyReaches();
  EXPECT_LT(BytesInUse(), bytes + kGrowthBytesMax);

  // Then nobody says anything: keepalives of those that have them, and what
  // ends with the sessions.
  swarm.Pass(seconds(60));
  wakeups = swarm.wakeups();
  const size_t datagrams = swarm.datagrams();
  swarm.Pass(seconds(600));
  // Every 25 s a keepalive of each spoke, every two minutes a handshake.
  EXPECT_LE(swarm.datagrams() - datagrams, 99 * (600 / 25 + 1 + 3 * (600 / 120 + 1)));
  EXPECT_LE(swarm.wakeups() - wakeups, 99 * 2 * (600 / 25 + 600 / 10) + 4 * swarm.pairs());
}

TEST(DeviceSwarmTest, AHundredDevicesComeBackFromAnyTrouble) {
  ForEachSeed(2, 100, RunSeed);
}

TEST(DeviceSwarmTest, EightHoursOfRenewalsLoseNothing) {
  ForEachSeed(1, 10, [](uint64_t seed) {
    Swarm swarm(seed, 4, 2);
    // Half of the datagrams overtake others.
    swarm.Set({.delay_ms = 80});
    swarm.TalkAll(std::chrono::hours(8), milliseconds(2500));
    swarm.Pass(seconds(2));
    swarm.ExpectNothingLost();
    // Every session was renewed every two minutes.
    EXPECT_GE(swarm.CountHandshakes(), swarm.pairs() * 8 * 3600 / 125);
    EXPECT_LE(swarm.CountHandshakes(), swarm.pairs() * 8 * 3600 / 110);
  });
}

}  // namespace
}  // namespace im::tunnel
