// What a peer with valid keys may send: any plaintext. And what the inside may
// hand over: any packet, any super-packet. Both ends are ours, so an input goes
// through splitting, sealing, opening, checking and coalescing.
//
// Input: packets, each a flag byte, two bytes of segment size, two bytes of
// size and its bytes. Flags:
//   1  make it IPv4 of the right addresses and length   2  likewise IPv6
//   4  the checksum is partial                          8  flush after it
//   16 no segment size                                  32 a marked outer header
//   64 of the first packet: between own ends, which probe the path

#include <cstdint>
#include <cstring>

#include "base/check.h"
#include "base/checksum.h"
#include "tunnel/ecn.h"
#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

class World {
 public:
  explicit World(bool probing) {
    for (auto [node, peer, v6] : {std::tuple(&a_, &b_, "fd00::b"), std::tuple(&b_, &a_, "fd00::a")}) {
      PeerConfig config = network_.ConfigOf(*peer);
      config.probe_mtu = probing;
      config.allowed_ips.push_back(IpPrefix::Host(Address(v6)));
      network_.SetPeer(*node, config);
    }
    network_.Connect(a_, b_);
    network_.DeliverAll();
  }

  void Add(uint8_t flags, uint16_t segment_size, std::span<const uint8_t> bytes) {
    Packet& packet = batch_.AppendCopy(bytes);
    if ((flags & 16) == 0) packet.segment_size = segment_size;
    packet.checksum_partial = (flags & 4) != 0;
    if ((flags & 1) != 0) {
      MakeIpv4(packet);
    } else if ((flags & 2) != 0) {
      MakeIpv6(packet);
    }
    if ((flags & 8) != 0) Flush(flags);
  }

  void Flush(uint8_t flags) {
    a_.inbox.clear();
    network_.log.clear();
    a_.device.SendTo(b_.key(), batch_, network_.clock.Now(), a_.out);
    batch_.Clear();
    // What we have to say about the MTU goes to the sender alone.
    for (const Packet& packet : a_.out.inside) {
      const auto view = ParseIp(packet.bytes());
      IM_CHECK(view && (view->protocol == kProtocolIcmp || view->protocol == kProtocolIcmpV6));
    }
    a_.out.inside.Clear();
    DatagramBatch received;
    for (const DatagramRun& run : a_.out.datagrams.runs()) {
      IM_CHECK(run.segment_size > 0 && run.bytes.size() <= kGsoBytesMax);
      IM_CHECK(run.bytes.size() <= run.segment_size * kGsoSegmentsMax);
      DatagramRun copy = run;
      copy.peer = a_.endpoint;
      copy.ecn = (flags & 32) != 0 ? kEcnCongested : run.ecn;
      copy.bytes = received.Allocate(run.bytes.size());
      std::memcpy(copy.bytes.data(), run.bytes.data(), run.bytes.size());
      received.Add(copy);
    }
    a_.out.datagrams.Clear();
    b_.device.OnDatagrams(received, network_.clock.Now(), b_.out);
    IM_CHECK(b_.device.drops()[DropReason::kDecryptFailed] == 0);
    IM_CHECK(b_.device.drops()[DropReason::kReplayed] == 0);
    for (const Packet& packet : b_.out.inside) {
      const auto route = ParseIpRoute(packet.bytes());
      IM_CHECK(route.has_value() && route->total_size == packet.size);
      IM_CHECK(route->source == a_.address || route->source == Address("fd00::a"));
      if (packet.segment_size != 0) IM_CHECK(SegmentSplitter(packet).valid());
    }
    // Back to where it came from: nobody there owns the source.
    PacketBatch back = std::move(b_.out.inside);
    b_.out.inside = PacketBatch();
    b_.device.SendTo(a_.key(), back, network_.clock.Now(), b_.out);
    network_.Collect(b_);
    network_.DeliverAll();
    IM_CHECK(a_.inbox.empty());
  }

 private:
  void MakeIpv4(Packet& packet) {
    if (packet.size < 20) return;
    packet.data[0] = 0x45;
    packet.data[2] = static_cast<uint8_t>(packet.size >> 8);
    packet.data[3] = static_cast<uint8_t>(packet.size);
    packet.data[6] &= 0x40;
    packet.data[7] = 0;
    std::memcpy(packet.data + 12, a_.address.bytes().data(), 4);
    std::memcpy(packet.data + 16, b_.address.bytes().data(), 4);
    SetIpv4HeaderChecksum(packet.bytes());
  }
  void MakeIpv6(Packet& packet) {
    if (packet.size < 40) return;
    packet.data[0] = 0x60;
    packet.data[4] = static_cast<uint8_t>((packet.size - 40) >> 8);
    packet.data[5] = static_cast<uint8_t>(packet.size - 40);
    std::memcpy(packet.data + 8, Address("fd00::a").bytes().data(), 16);
    std::memcpy(packet.data + 24, Address("fd00::b").bytes().data(), 16);
  }

  TestNetwork network_;
  Node& a_ = network_.Add();
  Node& b_ = network_.Add();
  PacketBatch batch_;
};

// One world for all inputs, since a handshake costs more than an input: what
// stays of one are counters.
void Run(std::span<const uint8_t> input) {
  static World plain(/*probing=*/false);
  static World probing(/*probing=*/true);
  World& world = !input.empty() && (input[0] & 64) != 0 ? probing : plain;
  while (input.size() > 5) {
    const uint8_t flags = input[0];
    const auto segment_size = static_cast<uint16_t>(input[1] | input[2] << 8);
    const size_t size = std::min<size_t>(input[3] | input[4] << 8, input.size() - 5);
    world.Add(flags, segment_size, input.subspan(5, size));
    input = input.subspan(5 + size);
  }
  world.Flush(0);
}

}  // namespace
}  // namespace im::tunnel

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  im::tunnel::Run({data, size});
  return 0;
}
