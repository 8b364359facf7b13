// TestNetwork: devices on one wire in memory, for tests. Time moves by hand.
//
// Every device is a Node with an address; datagrams go into one queue and are
// delivered in order, one by one, unless a filter does something else to them.

#ifndef IM_TUNNEL_TEST_NETWORK_H_
#define IM_TUNNEL_TEST_NETWORK_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/ip_build.h"
#include "base/ip_header.h"
#include "base/random.h"
#include "base/segment_split.h"
#include "tunnel/device.h"
#include "tunnel/message.h"

namespace im::tunnel {

using ByteVector = std::vector<uint8_t>;

struct WireDatagram {
  Endpoint from;
  Endpoint to;
  ByteVector bytes;
  uint8_t ecn = 0;

  MessageType type() const { return static_cast<MessageType>(bytes[0]); }
  bool is_keepalive() const {
    return type() == MessageType::kTransport && bytes.size() == kTransportOverhead;
  }
};

inline IpAddress Address(const std::string& text) { return *IpAddress::Parse(text); }
inline IpPrefix Prefix(const std::string& text) { return *IpPrefix::Parse(text); }

// A UDP packet whose payload is `text`.
inline ByteVector TextPacket(const IpAddress& from, const IpAddress& to, const std::string& text) {
  return BuildUdp({from, 1000}, {to, 2000},
                  {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

class Node : public Device::Delegate {
 public:
  Node(const Endpoint& at, const IpAddress& inside, const PrivateKey& key,
       const Device::Options& options, const Clock& clock, Random& random)
      : endpoint(at), address(inside), device(key, options, clock, random, this) {}

  void OnSessionUp(const PublicKey& peer) override {
    ups.push_back(peer);
    if (on_up) on_up(peer);
  }
  void OnSessionDown(const PublicKey& peer) override {
    downs.push_back(peer);
    if (on_down) on_down(peer);
  }

  PublicKey key() const { return device.public_key(); }

  Endpoint endpoint;   // on the wire
  IpAddress address;   // inside
  Device device;
  Outbox out;
  std::vector<ByteVector> inbox;  // packets that came out, cut up again
  std::vector<PublicKey> ups;
  std::vector<PublicKey> downs;
  std::function<void(const PublicKey&)> on_up;
  std::function<void(const PublicKey&)> on_down;

  // The payloads of the UDP packets in the inbox.
  std::vector<std::string> texts() const {
    std::vector<std::string> all;
    for (const ByteVector& packet : inbox) {
      const auto view = ParseIp(packet);
      if (!view) continue;
      all.emplace_back(packet.begin() + view->payload_offset, packet.begin() + view->total_size);
    }
    return all;
  }
};

class TestNetwork {
 public:
  explicit TestNetwork(uint64_t seed = 1, const Device::Options& options = {})
      : random(seed), options_(options) {}

  // Node i has 192.0.2.i+1:51820 on the wire and 10.77.0.i+1 inside.
  Node& Add() {
    const auto i = static_cast<uint32_t>(nodes.size()) + 1;
    nodes.push_back(std::make_unique<Node>(
        Endpoint{IpAddress::V4(0xc0000200 + i), 51820}, IpAddress::V4(0x0a4d0000 + i),
        GeneratePrivateKey(random), options_, clock, random));
    return *nodes.back();
  }

  // `node` knows `peer` with its inside address as AllowedIPs.
  PeerConfig ConfigOf(const Node& peer) const {
    PeerConfig config;
    config.public_key = peer.key();
    config.endpoint = peer.endpoint;
    config.allowed_ips = {IpPrefix::Host(peer.address)};
    return config;
  }
  void SetPeer(Node& node, const PeerConfig& config) {
    IM_CHECK(node.device.SetPeer(config, clock.Now(), node.out).ok());
    Collect(node);
  }
  void Introduce(Node& a, Node& b) {
    SetPeer(a, ConfigOf(b));
    SetPeer(b, ConfigOf(a));
  }

  void Send(Node& from, const ByteVector& packet) {
    PacketBatch batch;
    batch.AppendCopy(packet);
    from.device.OnInsidePackets(batch, clock.Now(), from.out);
    Collect(from);
  }
  void SendText(Node& from, const Node& to, const std::string& text) {
    Send(from, TextPacket(from.address, to.address, text));
  }
  void Connect(Node& from, const Node& to) {
    from.device.Connect(to.key(), clock.Now(), from.out);
    Collect(from);
  }

  // What the node wants sent goes on the wire; what came out, into its inbox.
  void Collect(Node& node) {
    for (const DatagramRun& run : node.out.datagrams.runs()) {
      IM_CHECK(run.segment_size > 0 && run.bytes.size() <= kGsoBytesMax);
      IM_CHECK(run.bytes.size() <= run.segment_size * kGsoSegmentsMax);
      for (size_t at = 0; at < run.bytes.size(); at += run.segment_size) {
        const auto one = run.bytes.subspan(
            at, std::min<size_t>(run.segment_size, run.bytes.size() - at));
        wire.push_back({node.endpoint, run.peer, ByteVector(one.begin(), one.end()), run.ecn});
        log.push_back(wire.back());
      }
    }
    node.out.datagrams.Clear();
    for (const Packet& packet : node.out.inside) {
      const SegmentSplitter segments(packet);
      IM_CHECK(segments.valid());
      for (size_t i = 0; i < segments.count(); ++i) {
        node.inbox.emplace_back(segments.size(i));
        segments.Write(i, node.inbox.back());
      }
    }
    node.out.inside.Clear();
  }

  Node* NodeAt(const Endpoint& endpoint) {
    for (const auto& node : nodes)
      if (node->endpoint == endpoint) return node.get();
    return nullptr;
  }

  // Hands the datagram to whoever is there.
  void Deliver(const WireDatagram& datagram) {
    Node* node = NodeAt(datagram.to);
    if (node == nullptr) return;
    DatagramBatch batch;
    batch.AddCopy(datagram.from, datagram.bytes);
    batch.runs().back().ecn = datagram.ecn;
    node->device.OnDatagrams(batch, clock.Now(), node->out);
    Collect(*node);
  }
  // Delivers the first datagram on the wire.
  void DeliverOne() {
    const WireDatagram first = std::move(wire.front());
    wire.pop_front();
    if (!filter || filter(first)) Deliver(first);
  }
  void DeliverAll() {
    while (!wire.empty()) DeliverOne();
  }

  void RunTimers() {
    for (const auto& node : nodes) {
      node->device.OnTimer(clock.Now(), node->out);
      Collect(*node);
    }
  }
  Instant NextDeadline() const {
    Instant next = kNever;
    for (const auto& node : nodes) next = std::min(next, node->device.NextDeadline());
    return next;
  }
  // Lets time pass, everything happening when it is due.
  void Pass(Duration time) {
    const Instant end = clock.Now() + time;
    DeliverAll();
    while (NextDeadline() <= end) {
      clock.Advance(std::max(NextDeadline() - clock.Now(), Duration(0)));
      RunTimers();
      DeliverAll();
    }
    clock.Advance(end - clock.Now());
  }

  size_t CountLogged(MessageType type) const {
    return static_cast<size_t>(std::count_if(
        log.begin(), log.end(), [type](const WireDatagram& d) { return d.type() == type; }));
  }
  size_t CountLoggedKeepalives() const {
    return static_cast<size_t>(std::count_if(
        log.begin(), log.end(), [](const WireDatagram& d) { return d.is_keepalive(); }));
  }

  ManualClock clock;
  SeededRandom random;
  std::vector<std::unique_ptr<Node>> nodes;
  std::deque<WireDatagram> wire;
  std::vector<WireDatagram> log;  // all that was ever put on the wire
  // False: the datagram is lost.
  std::function<bool(const WireDatagram&)> filter;

 private:
  Device::Options options_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_TEST_NETWORK_H_
