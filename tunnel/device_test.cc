// Two devices and a wire: the ordinary course of things, and configuration.

#include "tunnel/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class DeviceTest : public ::testing::Test {
 protected:
  uint64_t Drops() const { return a.device.drops().total() + b.device.drops().total(); }

  TestNetwork network;
  Node& a = network.Add();
  Node& b = network.Add();
};

TEST_F(DeviceTest, AFirstPacketMakesTheHandshakeAndArrives) {
  network.Introduce(a, b);
  EXPECT_THAT(network.wire, IsEmpty());
  network.SendText(a, b, "hello");
  EXPECT_EQ(network.wire.size(), 1u);
  network.DeliverAll();

  ASSERT_EQ(network.log.size(), 3u);
  EXPECT_EQ(network.log[0].type(), MessageType::kInitiation);
  EXPECT_EQ(network.log[0].bytes.size(), 148u);
  EXPECT_EQ(network.log[1].type(), MessageType::kResponse);
  EXPECT_EQ(network.log[1].bytes.size(), 92u);
  EXPECT_EQ(network.log[2].type(), MessageType::kTransport);
  EXPECT_EQ(network.log[2].bytes.size() % 16, 0u);
  EXPECT_THAT(b.texts(), ElementsAre("hello"));
  EXPECT_THAT(a.ups, ElementsAre(b.key()));
  EXPECT_THAT(b.ups, ElementsAre(a.key()));

  network.SendText(b, a, "hello yourself");
  network.DeliverAll();
  EXPECT_EQ(network.log.size(), 4u);
  EXPECT_THAT(a.texts(), ElementsAre("hello yourself"));
  EXPECT_EQ(Drops(), 0u);
}

TEST_F(DeviceTest, ThePlaintextIsNotOnTheWire) {
  network.Introduce(a, b);
  network.SendText(a, b, "a secret of some length");
  network.DeliverAll();
  for (const WireDatagram& d : network.log)
    EXPECT_EQ(std::string(d.bytes.begin(), d.bytes.end()).find("secret"), std::string::npos);
}

TEST_F(DeviceTest, ConnectBringsASessionUpWithAKeepalive) {
  network.Introduce(a, b);
  network.Connect(a, b);
  network.Connect(a, b);  // one is under way
  network.DeliverAll();
  EXPECT_EQ(network.log.size(), 3u);
  EXPECT_TRUE(network.log.back().is_keepalive());
  EXPECT_THAT(b.ups, ElementsAre(a.key()));
  EXPECT_THAT(b.inbox, IsEmpty());
  network.Connect(a, b);  // it is up
  network.Connect(b, a);
  EXPECT_EQ(network.log.size(), 3u);
  EXPECT_TRUE(a.device.GetPeer(b.key())->session_live);
  EXPECT_TRUE(b.device.GetPeer(a.key())->session_live);
}

TEST_F(DeviceTest, StagedPacketsLeaveInOrderAndTheOldestAreDropped) {
  network.Introduce(a, b);
  const size_t count = kStagedPacketsMax + 10;
  for (size_t i = 0; i < count; ++i) network.SendText(a, b, std::to_string(i));
  EXPECT_EQ(network.CountLogged(MessageType::kInitiation), 1u);
  EXPECT_EQ(a.device.drops()[DropReason::kQueueFull], 10u);
  network.DeliverAll();
  std::vector<std::string> expected;
  for (size_t i = 10; i < count; ++i) expected.push_back(std::to_string(i));
  EXPECT_EQ(b.texts(), expected);
}

TEST_F(DeviceTest, WhatTheDelegateSendsWhenASessionIsUpFollowsWhatWasStaged) {
  network.Introduce(a, b);
  a.on_up = [&](const PublicKey& peer) {
    PacketBatch batch;
    batch.AppendCopy(TextPacket(a.address, b.address, "second"));
    a.device.SendTo(peer, batch, network.clock.Now(), a.out);
  };
  b.on_up = [&](const PublicKey& peer) {
    PacketBatch batch;
    batch.AppendCopy(TextPacket(b.address, a.address, "held"));
    b.device.SendTo(peer, batch, network.clock.Now(), b.out);
  };
  network.SendText(a, b, "first");
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("first", "second"));
  EXPECT_THAT(a.texts(), ElementsAre("held"));
  // No keepalive was needed.
  EXPECT_EQ(network.log.size(), 5u);
}

TEST_F(DeviceTest, APresharedKeyMustBeTheSameOnBothSides) {
  PeerConfig of_a = network.ConfigOf(a);
  PeerConfig of_b = network.ConfigOf(b);
  of_b.preshared_key = GeneratePrivateKey(network.random);
  network.SetPeer(a, of_b);
  network.SetPeer(b, of_a);
  network.SendText(a, b, "one");
  network.DeliverAll();
  EXPECT_THAT(b.inbox, IsEmpty());
  EXPECT_EQ(a.device.drops()[DropReason::kDecryptFailed], 1u);
  EXPECT_THAT(a.ups, IsEmpty());
  EXPECT_THAT(b.ups, IsEmpty());

  of_a.preshared_key = of_b.preshared_key;
  network.SetPeer(b, of_a);
  network.Pass(seconds(6));
  EXPECT_THAT(b.texts(), ElementsAre("one"));
}

TEST_F(DeviceTest, ANewPresharedKeyEndsTheSession) {
  network.Introduce(a, b);
  network.SendText(a, b, "one");
  network.DeliverAll();
  PeerConfig of_b = network.ConfigOf(b);
  of_b.preshared_key = GeneratePrivateKey(network.random);
  network.SetPeer(a, of_b);
  EXPECT_FALSE(a.device.GetPeer(b.key())->session_live);
  network.SendText(b, a, "late");
  network.DeliverAll();
  EXPECT_EQ(a.device.drops()[DropReason::kUnknownIndex], 1u);
  PeerConfig of_a = network.ConfigOf(a);
  of_a.preshared_key = of_b.preshared_key;
  network.SetPeer(b, of_a);
  network.Pass(milliseconds(100));
  network.SendText(a, b, "two");
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("one", "two"));
  EXPECT_EQ(a.ups.size(), 2u);
}

TEST_F(DeviceTest, SettingAPeerAgainKeepsSessionAndEndpoint) {
  network.Introduce(a, b);
  network.SendText(a, b, "one");
  network.DeliverAll();
  PeerConfig config = network.ConfigOf(b);
  config.endpoint.reset();
  config.allowed_ips.push_back(Prefix("10.99.0.0/16"));
  network.SetPeer(a, config);
  EXPECT_EQ(a.device.GetPeer(b.key())->endpoint, b.endpoint);
  network.SendText(a, b, "two");
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("one", "two"));
  EXPECT_EQ(network.CountLogged(MessageType::kInitiation), 1u);
  EXPECT_EQ(a.device.GetPeer(b.key())->allowed_ips, config.allowed_ips);
  // As a whole: what is left out is gone.
  network.SetPeer(a, network.ConfigOf(b));
  EXPECT_EQ(a.device.Route(Address("10.99.1.1")), std::nullopt);
}

TEST_F(DeviceTest, AnEndpointThatIsCorrectedIsTriedAtOnce) {
  PeerConfig of_b = network.ConfigOf(b);
  of_b.endpoint = *Endpoint::Parse("203.0.113.9:9");
  network.SetPeer(a, of_b);
  network.SetPeer(b, network.ConfigOf(a));
  network.SendText(a, b, "hello");
  network.DeliverAll();
  network.Pass(milliseconds(100));
  EXPECT_THAT(b.inbox, IsEmpty());
  network.SetPeer(a, network.ConfigOf(b));
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("hello"));
}

TEST_F(DeviceTest, OurOwnKeyIsNoPeer) {
  PeerConfig config;
  config.public_key = a.key();
  EXPECT_TRUE(absl::IsInvalidArgument(a.device.SetPeer(config, network.clock.Now(), a.out)));
  EXPECT_TRUE(a.device.ListPeers().empty());
}

TEST_F(DeviceTest, AnAllowedIpMovesToItsNewestOwner) {
  Node& c = network.Add();
  network.SetPeer(a, network.ConfigOf(b));
  PeerConfig of_c = network.ConfigOf(c);
  of_c.allowed_ips.push_back(IpPrefix::Host(b.address));
  network.SetPeer(a, of_c);
  EXPECT_EQ(a.device.Route(b.address), c.key());
  EXPECT_TRUE(a.device.GetPeer(b.key())->allowed_ips.empty());
  EXPECT_TRUE(a.device.RemovePeer(c.key()));
  EXPECT_EQ(a.device.Route(b.address), std::nullopt);
}

TEST_F(DeviceTest, PacketsWithoutAWayAreCounted) {
  network.Introduce(a, b);
  network.Send(a, TextPacket(a.address, Address("10.99.0.1"), "nowhere"));
  EXPECT_EQ(a.device.drops()[DropReason::kNoRoute], 1u);
  network.Send(a, ByteVector(3, 0x45));
  network.Send(a, ByteVector(40, 0));
  EXPECT_EQ(a.device.drops()[DropReason::kMalformed], 2u);
  PeerConfig config = network.ConfigOf(b);
  config.public_key = DerivePublicKey(GeneratePrivateKey(network.random));
  config.endpoint.reset();
  network.SetPeer(a, config);
  network.SendText(a, b, "whereto");
  EXPECT_EQ(a.device.drops()[DropReason::kNoEndpoint], 1u);
  EXPECT_TRUE(network.wire.empty());
  PacketBatch batch;
  batch.AppendCopy(TextPacket(a.address, b.address, "x"));
  a.device.SendTo(DerivePublicKey(GeneratePrivateKey(network.random)), batch, network.clock.Now(),
                  a.out);
  EXPECT_EQ(a.device.drops()[DropReason::kNoRoute], 2u);
}

TEST_F(DeviceTest, ARemovedPeerIsForgottenOnBothPaths) {
  network.Introduce(a, b);
  network.SendText(a, b, "one");
  network.DeliverAll();
  EXPECT_TRUE(b.device.RemovePeer(a.key()));
  EXPECT_FALSE(b.device.RemovePeer(a.key()));
  network.SendText(a, b, "two");
  network.DeliverAll();
  EXPECT_EQ(b.device.drops()[DropReason::kUnknownIndex], 1u);
  EXPECT_THAT(b.texts(), ElementsAre("one"));
  EXPECT_EQ(b.device.NextDeadline(), kNever);
  EXPECT_FALSE(b.device.GetPeer(a.key()));
  // It comes back, with the same keys, within the same moment.
  network.SetPeer(b, network.ConfigOf(a));
  network.SendText(b, a, "three");
  network.DeliverAll();
  EXPECT_THAT(a.texts(), ElementsAre("three"));
}

TEST_F(DeviceTest, RemovalInTheMiddleOfAHandshake) {
  network.Introduce(a, b);
  network.SendText(a, b, "one");
  network.DeliverOne();  // b answers
  EXPECT_TRUE(a.device.RemovePeer(b.key()));
  network.DeliverAll();
  EXPECT_EQ(a.device.drops()[DropReason::kUnknownIndex], 1u);
  EXPECT_EQ(a.device.NextDeadline(), kNever);
  network.Pass(seconds(600));
  EXPECT_EQ(network.log.size(), 2u);
}

TEST_F(DeviceTest, ADelegateMayRemoveAnyPeerFromWithin) {
  Node& c = network.Add();
  network.Introduce(a, b);
  network.Introduce(a, c);
  network.SendText(c, a, "c is here");
  network.DeliverAll();
  // When b comes, c goes and b itself.
  a.on_up = [&](const PublicKey& peer) {
    a.device.RemovePeer(c.key());
    a.device.RemovePeer(peer);
  };
  network.SendText(b, a, "b is here");
  network.SendText(c, a, "c is here still");
  network.DeliverAll();
  EXPECT_THAT(a.texts(), ElementsAre("c is here", "c is here still"));
  EXPECT_TRUE(a.device.ListPeers().empty());
  EXPECT_EQ(a.device.NextDeadline(), kNever);
}

TEST_F(DeviceTest, ADelegateMayRemoveTheInitiatedPeerToo) {
  network.Introduce(a, b);
  a.on_up = [&](const PublicKey& peer) { a.device.RemovePeer(peer); };
  network.SendText(a, b, "never");
  network.DeliverAll();
  EXPECT_THAT(b.inbox, IsEmpty());
  EXPECT_TRUE(a.device.ListPeers().empty());
}

TEST_F(DeviceTest, SessionUpComesBeforeTheFirstPacketsSourceIsChecked) {
  PeerConfig of_a = network.ConfigOf(a);
  of_a.allowed_ips.clear();
  network.SetPeer(a, network.ConfigOf(b));
  network.SetPeer(b, of_a);
  b.on_up = [&](const PublicKey&) {
    // Not the way to do it, but it shows the order.
    EXPECT_TRUE(
        b.device.SetPeer(network.ConfigOf(a), network.clock.Now(), b.out).ok());
  };
  network.SendText(a, b, "hello");
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("hello"));
}

TEST_F(DeviceTest, ANewPrivateKeyStartsAllOver) {
  network.Introduce(a, b);
  network.SendText(a, b, "one");
  network.DeliverAll();
  const PublicKey before = a.key();
  const PrivateKey key = GeneratePrivateKey(network.random);
  a.device.SetPrivateKey(key);
  EXPECT_EQ(a.key(), DerivePublicKey(key));
  EXPECT_EQ(a.device.private_key(), key);
  network.SendText(a, b, "two");
  network.DeliverAll();
  EXPECT_EQ(b.device.drops()[DropReason::kUnknownPeer], 1u);
  b.device.RemovePeer(before);
  network.SetPeer(b, network.ConfigOf(a));
  network.Pass(seconds(6));
  EXPECT_THAT(b.texts(), ElementsAre("one", "two"));
}

TEST_F(DeviceTest, APeerWithOurNewKeyIsRemoved) {
  const PrivateKey key = GeneratePrivateKey(network.random);
  PeerConfig config = network.ConfigOf(b);
  config.public_key = DerivePublicKey(key);
  network.SetPeer(a, config);
  a.device.SetPrivateKey(key);
  EXPECT_TRUE(a.device.ListPeers().empty());
}

TEST_F(DeviceTest, StatusCountsBytesAndTheHandshakesTime) {
  network.Introduce(a, b);
  EXPECT_EQ(a.device.GetPeer(b.key())->last_handshake_unix_nanos, 0);
  EXPECT_FALSE(a.device.GetPeer(b.key())->session_live);
  network.SendText(a, b, "hello");
  network.DeliverAll();
  const PeerStatus at_a = *a.device.GetPeer(b.key());
  const PeerStatus at_b = *b.device.GetPeer(a.key());
  EXPECT_EQ(at_a.last_handshake_unix_nanos, network.clock.UnixNanos());
  EXPECT_EQ(at_b.last_handshake_unix_nanos, network.clock.UnixNanos());
  EXPECT_EQ(at_a.tx_bytes, network.log[0].bytes.size() + network.log[2].bytes.size());
  EXPECT_EQ(at_a.rx_bytes, network.log[1].bytes.size());
  EXPECT_EQ(at_b.tx_bytes, at_a.rx_bytes);
  EXPECT_EQ(at_b.rx_bytes, at_a.tx_bytes);
  EXPECT_EQ(a.device.TxDataBytes(b.key()), network.log[2].bytes.size());
  EXPECT_EQ(b.device.TxDataBytes(a.key()), 0u) << "a handshake is no data";
  EXPECT_EQ(a.device.ListPeers().size(), 1u);
  EXPECT_EQ(a.device.GetPeerConfig(b.key())->allowed_ips, network.ConfigOf(b).allowed_ips);
}

TEST_F(DeviceTest, RemoveAllPeersLeavesNothing) {
  Node& c = network.Add();
  network.Introduce(a, b);
  network.Introduce(a, c);
  network.SendText(b, a, "x");
  network.SendText(c, a, "x");
  network.DeliverAll();
  a.device.RemoveAllPeers();
  EXPECT_TRUE(a.device.ListPeers().empty());
  EXPECT_EQ(a.device.NextDeadline(), kNever);
  EXPECT_EQ(a.device.Route(b.address), std::nullopt);
}

}  // namespace
}  // namespace im::tunnel
