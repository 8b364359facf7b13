// Two to five devices on a bad network, by seed: loss, duplication, reordering,
// partitions, roaming, peers that are removed and come back, wall clocks that
// jump. A failure names its seed; run it alone with IM_SIM_SEED=n. With IM_LONG=1
// there are more of them.
//
// What must hold whatever happens:
//  - no packet comes out twice, changed, or at the wrong place;
//  - no nonce is used twice;
//  - nothing is taken for malformed, spoofed or forged;
//  - when the network is good again, every device reaches every other one.

#include <gtest/gtest.h>

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

class Simulation {
 public:
  explicit Simulation(uint64_t seed) : network_(seed, Options(seed)), dice_(seed * 7919) {
    const size_t count = 2 + dice_.Below(4);
    for (size_t i = 0; i < count; ++i) network_.Add();
    for (auto& a : network_.nodes)
      for (auto& b : network_.nodes)
        if (a != b) network_.SetPeer(*a, Config(*a, *b));
    loss_ = dice_.Below(40);
    duplication_ = dice_.Below(30);
    delay_ms_ = static_cast<int>(dice_.Below(2) * dice_.Below(400));
    good_ = false;
  }

  void Run() {
    const uint64_t steps = 200 + dice_.Below(400);
    for (uint64_t step = 0; step < steps && !::testing::Test::HasFailure(); ++step) Step();
    Settle();
    Check();
  }

 private:
  // Some lives with few messages to a session.
  static Device::Options Options(uint64_t seed) {
    Device::Options options;
    if (seed % 3 == 0) {
      options.rekey_after_messages = 10 + seed % 50;
      options.reject_after_messages = options.rekey_after_messages + 20;
    }
    return options;
  }

  PeerConfig Config(const Node& of, const Node& peer) {
    PeerConfig config = network_.ConfigOf(peer);
    // Both must have the same: the order does not matter.
    std::pair<PublicKey, PublicKey> key(of.key(), peer.key());
    if (key.second < key.first) std::swap(key.first, key.second);
    if (psk_.find(key) == psk_.end()) {
      psk_[key] = dice_.Below(2) == 0 ? PresharedKey() : GeneratePrivateKey(dice_);
    }
    config.preshared_key = psk_[key];
    if (dice_.Below(4) == 0) config.persistent_keepalive = seconds(10 + dice_.Below(30));
    return config;
  }

  Node& Any() { return *network_.nodes[dice_.Below(network_.nodes.size())]; }

  void Step() {
    Node& a = Any();
    Node& b = Any();
    if (&a == &b) return PassSome();
    switch (dice_.Below(20)) {
      case 0:
        network_.Connect(a, b);
        break;
      case 1:
        if (dice_.Below(4) == 0) a.device.RemovePeer(b.key());
        break;
      case 2:
        network_.SetPeer(a, Config(a, b));
        break;
      case 3:  // it moves; the others learn it from its own messages
        if (dice_.Below(8) == 0) a.endpoint.port = static_cast<uint16_t>(1 + dice_.Below(60000));
        break;
      case 4:
        network_.clock.JumpWall(seconds(static_cast<int64_t>(dice_.Below(7200)) - 3600));
        break;
      case 5:
        partition_ = dice_.Below(3) == 0 ? dice_.Below(1 << network_.nodes.size()) : 0;
        break;
      case 6:
      case 7:
        PassSome();
        break;
      default:
        for (uint64_t i = 1 + dice_.Below(5); i > 0; --i) SendNext(a, b);
        break;
    }
    Absorb();
  }

  void PassSome() {
    const Duration time = dice_.Below(10) == 0 ? Duration(seconds(dice_.Below(250)))
                                               : Duration(milliseconds(dice_.Below(3000)));
    Pass(time);
  }

  void SendNext(Node& a, Node& b) {
    const std::string text = std::to_string(Index(a)) + ">" + std::to_string(Index(b)) + ":" +
                             std::to_string(sent_.size());
    sent_.insert(text);
    network_.SendText(a, b, text);
  }

  size_t Index(const Node& node) const {
    for (size_t i = 0; i < network_.nodes.size(); ++i)
      if (network_.nodes[i].get() == &node) return i;
    return 0;
  }

  // What was put on the wire meets its fate.
  void Absorb() {
    for (; looked_at_ < network_.log.size(); ++looked_at_) CheckNonce(network_.log[looked_at_]);
    while (!network_.wire.empty()) {
      const WireDatagram datagram = std::move(network_.wire.front());
      network_.wire.pop_front();
      if (!good_ && (Apart(datagram) || dice_.Below(100) < loss_)) continue;
      const int copies = !good_ && dice_.Below(100) < duplication_ ? 2 : 1;
      for (int i = 0; i < copies; ++i) {
        const int delay = good_ ? 1 : 1 + static_cast<int>(dice_.Below(delay_ms_ + 1));
        under_way_.emplace(network_.clock.Now() + milliseconds(delay), datagram);
      }
    }
  }

  bool Apart(const WireDatagram& datagram) {
    const Node* to = network_.NodeAt(datagram.to);
    const Node* from = network_.NodeAt(datagram.from);
    if (to == nullptr || from == nullptr) return true;
    return (partition_ >> Index(*to) & 1) != (partition_ >> Index(*from) & 1);
  }

  void Pass(Duration time) {
    const Instant end = network_.clock.Now() + time;
    Absorb();
    while (true) {
      const Instant arrival = under_way_.empty() ? kNever : under_way_.begin()->first;
      const Instant next = std::min(arrival, network_.NextDeadline());
      if (next > end) break;
      if (next > network_.clock.Now()) network_.clock.Advance(next - network_.clock.Now());
      if (arrival <= network_.clock.Now()) {
        const WireDatagram datagram = under_way_.begin()->second;
        under_way_.erase(under_way_.begin());
        network_.Deliver(datagram);
      } else {
        network_.RunTimers();
        ASSERT_GT(network_.NextDeadline(), network_.clock.Now()) << "a timer that never rests";
      }
      Absorb();
    }
    network_.clock.Advance(end - network_.clock.Now());
  }

  void Settle() {
    good_ = true;
    partition_ = 0;
    for (auto& a : network_.nodes)
      for (auto& b : network_.nodes)
        if (a != b) network_.SetPeer(*a, Config(*a, *b));
    // Old attempts run out, dead sessions are noticed.
    for (int i = 0; i < 60; ++i) {
      for (auto& a : network_.nodes)
        for (auto& b : network_.nodes)
          if (a != b) SendNext(*a, *b);
      Pass(seconds(1));
    }
    std::map<Node*, std::set<std::string>> last;
    for (auto& a : network_.nodes) {
      for (auto& b : network_.nodes) {
        if (a == b) continue;
        SendNext(*a, *b);
        last[b.get()].insert(std::to_string(Index(*a)) + ">" + std::to_string(Index(*b)) + ":" +
                             std::to_string(sent_.size() - 1));
      }
    }
    Pass(seconds(20));
    for (auto& [node, texts] : last) {
      const auto all = node->texts();
      const std::set<std::string> had(all.begin(), all.end());
      for (const std::string& text : texts) EXPECT_TRUE(had.contains(text)) << text << " is missing";
    }
  }

  void CheckNonce(const WireDatagram& datagram) {
    if (datagram.type() != MessageType::kTransport) return;
    const auto header = ReadMessage<TransportHeader>(datagram.bytes);
    // Indices are random and 32 bits: one that is drawn again would show here
    // about once in a million runs.
    EXPECT_TRUE(nonces_.emplace(header.receiver, header.counter).second)
        << "nonce " << header.counter << " used twice";
  }

  void Check() {
    for (auto& node : network_.nodes) {
      std::set<std::string> seen;
      for (const std::string& text : node->texts()) {
        EXPECT_TRUE(sent_.contains(text)) << text << " was never sent";
        EXPECT_TRUE(seen.insert(text).second) << text << " came twice";
        const std::string to = ">" + std::to_string(Index(*node)) + ":";
        EXPECT_NE(text.find(to), std::string::npos) << text << " came to " << to;
      }
      const DropCounters& drops = node->device.drops();
      for (DropReason reason : {DropReason::kMalformed, DropReason::kBadMac, DropReason::kTooBig,
                                DropReason::kSourceNotAllowed}) {
        EXPECT_EQ(drops[reason], 0u) << std::string(DropReasonName(reason));
      }
    }
  }

  TestNetwork network_;
  SeededRandom dice_;
  uint64_t loss_;         // percent
  uint64_t duplication_;  // percent
  int delay_ms_;          // each datagram its own, up to this: reordering
  bool good_ = false;
  uint64_t partition_ = 0;  // which nodes are on the other side
  std::multimap<Instant, WireDatagram> under_way_;
  std::map<std::pair<PublicKey, PublicKey>, PresharedKey> psk_;
  std::set<std::string> sent_;
  std::set<std::pair<uint32_t, uint64_t>> nonces_;
  size_t looked_at_ = 0;
};

TEST(DeviceSimTest, HoldsOnABadNetwork) {
  ForEachSeed(50, 1000, [](uint64_t seed) { Simulation(seed).Run(); });
}

}  // namespace
}  // namespace im::tunnel
