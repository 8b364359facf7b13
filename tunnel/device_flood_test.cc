// A flood of forged initiations, and a thousand honest peers at once.

#include <gtest/gtest.h>

#include "tunnel/cookie.h"
#include "tunnel/device.h"
#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class DeviceFloodTest : public ::testing::Test {
 protected:
  // With a right MAC1; from anywhere.
  void Forge(uint32_t number) {
    WireDatagram datagram;
    datagram.from = {IpAddress::V4(0xcb007100 + number % 200), static_cast<uint16_t>(number)};
    datagram.to = hub.endpoint;
    datagram.bytes.resize(sizeof(InitiationMessage));
    datagram.bytes[0] = 1;
    for (size_t i = 0; i < 4; ++i) datagram.bytes[8 + i] = static_cast<uint8_t>(number >> 8 * i);
    CookieHolder().AddMacs(datagram.bytes, hub.key(), Instant(), seconds(120));
    network.Deliver(datagram);
  }
  void AddPeers(int count) {
    for (int i = 0; i < count; ++i) {
      Node& node = network.Add();
      // They share an address, as behind a NAT.
      node.endpoint = {IpAddress::V4(0xc6336401), static_cast<uint16_t>(1024 + i)};
      PeerConfig config = network.ConfigOf(node);
      config.endpoint.reset();
      network.SetPeer(hub, config);
      network.SetPeer(node, network.ConfigOf(hub));
      peers.push_back(&node);
    }
  }
  void ConnectAll() {
    for (Node* node : peers) network.Connect(*node, hub);
  }
  size_t CountUp() const { return hub.ups.size(); }

  TestNetwork network;
  Node& hub = network.Add();
  std::vector<Node*> peers;
};

TEST_F(DeviceFloodTest, IsAnsweredWithCookiesFromItsFirstBatch) {
  AddPeers(1);
  constexpr uint32_t kFlood = 1500;  // less than what a second may have
  for (uint32_t i = 0; i < kFlood; ++i) {
    Forge(i);
    if (i % 10 == 0) network.clock.Advance(milliseconds(1));
  }
  // What was computed for: the first ones, and what a second may have for as
  // long as those took.
  EXPECT_LE(hub.device.drops()[DropReason::kDecryptFailed], 160u);
  EXPECT_GT(hub.device.drops()[DropReason::kDecryptFailed], 100u);
  EXPECT_GT(network.CountLogged(MessageType::kCookieReply), 1000u);
  // Who shows its cookie gets in at the second try.
  network.wire.clear();
  ConnectAll();
  network.DeliverAll();
  EXPECT_EQ(CountUp(), 0u);
  const Duration retry = peers[0]->device.NextDeadline() - network.clock.Now();
  network.clock.Advance(retry - milliseconds(1));
  for (uint32_t i = 0; i <= static_cast<uint32_t>(kWastedHandshakesBurst); ++i) Forge(i);
  network.wire.clear();
  network.Pass(milliseconds(10));
  EXPECT_EQ(CountUp(), 1u);
}

TEST_F(DeviceFloodTest, AThousandHonestPeersAtOnceAreNone) {
  AddPeers(1000);
  ConnectAll();
  network.DeliverAll();
  EXPECT_EQ(CountUp(), 1000u);
  EXPECT_EQ(network.CountLogged(MessageType::kCookieReply), 0u);
  EXPECT_EQ(hub.device.drops().total(), 0u);
  network.Pass(seconds(200));
  network.log.clear();
  ConnectAll();
  EXPECT_EQ(network.wire.size(), 1000u);
  network.DeliverAll();
  EXPECT_EQ(network.CountLogged(MessageType::kCookieReply), 0u);
  EXPECT_EQ(network.CountLogged(MessageType::kResponse), 1000u);
}

}  // namespace
}  // namespace im::tunnel
