// Which peer a packet goes to, and from which it may come: standby and relay.
//
// `a` and `b` are hosts; `gateway` is what both know for the whole network.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tunnel/device.h"
#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class DeviceRoutingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (Node* host : {&a, &b}) {
      PeerConfig config = network.ConfigOf(gateway);
      config.allowed_ips = {Prefix("10.77.0.0/16")};
      config.relay = true;
      network.SetPeer(*host, config);
      network.SetPeer(gateway, network.ConfigOf(*host));
      network.Connect(*host, gateway);
    }
    network.DeliverAll();
    network.log.clear();
  }
  void Introduce() {
    for (auto [host, other] : {std::pair(&a, &b), std::pair(&b, &a)}) {
      PeerConfig config = network.ConfigOf(*other);
      config.standby = true;
      network.SetPeer(*host, config);
    }
  }
  // Delivers all, the gateway passing on whatever comes out of its tunnel.
  void DeliverAndRelay() {
    do {
      network.DeliverAll();
      for (const ByteVector& packet : std::exchange(gateway.inbox, {})) network.Send(gateway, packet);
    } while (!network.wire.empty());
  }

  TestNetwork network;
  Node& a = network.Add();
  Node& b = network.Add();
  Node& gateway = network.Add();
};

TEST_F(DeviceRoutingTest, AnUnknownHostIsReachedByWayOfTheGateway) {
  EXPECT_EQ(a.device.Route(b.address), gateway.key());
  network.SendText(a, b, "hello");
  DeliverAndRelay();
  EXPECT_THAT(b.texts(), ElementsAre("hello"));
}

TEST_F(DeviceRoutingTest, AStandbyPeerTakesOverWhenItsSessionIsUp) {
  Introduce();
  EXPECT_THAT(network.log, IsEmpty());
  EXPECT_EQ(a.device.Route(b.address), gateway.key());
  // Both ends look for each other; meanwhile the gateway carries.
  network.Connect(a, b);
  EXPECT_EQ(a.device.Route(b.address), gateway.key());
  network.SendText(a, b, "one");
  DeliverAndRelay();
  EXPECT_EQ(a.device.Route(b.address), b.key());
  EXPECT_EQ(b.device.Route(a.address), a.key());
  network.log.clear();
  network.SendText(a, b, "two");
  network.SendText(b, a, "three");
  DeliverAndRelay();
  EXPECT_THAT(b.texts(), ElementsAre("one", "two"));
  EXPECT_THAT(a.texts(), ElementsAre("three"));
  for (const WireDatagram& d : network.log) {
    EXPECT_NE(d.to, gateway.endpoint);
    EXPECT_NE(d.from, gateway.endpoint);
  }
}

TEST_F(DeviceRoutingTest, TrafficItselfTriesAStandbyPeer) {
  Introduce();
  network.SendText(a, b, "by the gateway");
  EXPECT_EQ(network.CountLogged(MessageType::kInitiation), 1u);
  DeliverAndRelay();
  EXPECT_EQ(a.device.Route(b.address), b.key());
  EXPECT_THAT(b.texts(), ElementsAre("by the gateway"));
}

TEST_F(DeviceRoutingTest, AnUnreachableStandbyPeerIsTriedNowAndThenAndNothingIsLost) {
  Introduce();
  network.filter = [&](const WireDatagram& d) {
    return d.from == gateway.endpoint || d.to == gateway.endpoint;
  };
  size_t sent = 0;
  for (; sent < 400; ++sent) {
    network.SendText(a, b, std::to_string(sent));
    DeliverAndRelay();
    network.Pass(seconds(1));
  }
  EXPECT_EQ(b.inbox.size(), sent);
  EXPECT_EQ(a.device.Route(b.address), gateway.key());
  const auto tries = static_cast<size_t>(
      std::count_if(network.log.begin(), network.log.end(), [&](const WireDatagram& d) {
        return d.from == a.endpoint && d.to == b.endpoint;
      }));
  // Eighteen in 90 seconds, then a minute's rest.
  EXPECT_LE(tries, 3 * 18u);
  EXPECT_GE(tries, 2 * 18u);
  // The path opens.
  network.filter = nullptr;
  for (int i = 0; i < 70; ++i) {
    network.SendText(a, b, "x");
    DeliverAndRelay();
    network.Pass(seconds(1));
  }
  EXPECT_EQ(a.device.Route(b.address), b.key());
  EXPECT_EQ(b.inbox.size(), sent + 70);
}

TEST_F(DeviceRoutingTest, AStandbyPeerThatFallsSilentIsLeftForTheGateway) {
  Introduce();
  network.SendText(a, b, "x");
  DeliverAndRelay();
  ASSERT_EQ(a.device.Route(b.address), b.key());
  network.filter = [&](const WireDatagram& d) {
    return d.from == gateway.endpoint || d.to == gateway.endpoint;
  };
  int lost = 0;
  while (a.device.Route(b.address) == b.key()) {
    network.SendText(a, b, "y");
    DeliverAndRelay();
    network.Pass(seconds(1));
    ASSERT_LT(++lost, 25);
  }
  // 15 seconds until it is doubted, and 5 for the first answer to stay out.
  EXPECT_GE(lost, 19);
  b.inbox.clear();
  network.SendText(a, b, "by the gateway");
  DeliverAndRelay();
  EXPECT_THAT(b.texts(), ElementsAre("by the gateway"));
}

TEST_F(DeviceRoutingTest, AnExpiredStandbySessionIsMadeAnewByTraffic) {
  Introduce();
  network.SendText(a, b, "x");
  DeliverAndRelay();
  network.Pass(seconds(200));
  EXPECT_EQ(a.device.Route(b.address), gateway.key());
  network.Connect(a, gateway);
  network.Connect(b, gateway);
  DeliverAndRelay();
  network.SendText(a, b, "again");
  DeliverAndRelay();
  EXPECT_EQ(a.device.Route(b.address), b.key());
  EXPECT_THAT(b.texts(), ElementsAre("x", "again"));
}

TEST_F(DeviceRoutingTest, WhatAWithdrawnPeerStillSendsIsTaken) {
  Introduce();
  network.SendText(a, b, "x");
  DeliverAndRelay();
  ASSERT_EQ(b.device.Route(a.address), a.key());
  PeerConfig config = *a.device.GetPeerConfig(b.key());
  config.receive_only = true;
  network.SetPeer(a, config);
  EXPECT_TRUE(a.device.GetPeerConfig(b.key())->receive_only);
  EXPECT_EQ(a.device.Route(b.address), gateway.key());
  network.log.clear();
  // b has not heard of it.
  network.SendText(b, a, "late");
  network.SendText(a, b, "by the gateway");
  DeliverAndRelay();
  EXPECT_THAT(a.texts(), ElementsAre("late"));
  EXPECT_THAT(b.texts(), ElementsAre("x", "by the gateway"));
  // No traffic for it makes a handshake, nor does its silence.
  network.filter = [&](const WireDatagram& d) { return d.from != b.endpoint; };
  for (int i = 0; i < 60; ++i) {
    network.SendText(a, b, "y");
    DeliverAndRelay();
    network.Pass(seconds(1));
  }
  EXPECT_TRUE(std::none_of(network.log.begin(), network.log.end(), [&](const WireDatagram& d) {
    return d.from == a.endpoint && d.to == b.endpoint && d.type() == MessageType::kInitiation;
  }));
  network.filter = nullptr;
  // It is introduced again, in its session.
  config.receive_only = false;
  network.SetPeer(a, config);
  EXPECT_EQ(a.device.Route(b.address), b.key());
}

TEST_F(DeviceRoutingTest, ARelayMayBringWhatAnotherPeerOwns) {
  // The direct path is up on b's side only.
  Introduce();
  network.Connect(a, b);
  DeliverAndRelay();
  ASSERT_EQ(b.device.Route(a.address), a.key());
  PacketBatch batch;
  batch.AppendCopy(TextPacket(a.address, b.address, "late"));
  gateway.device.SendTo(b.key(), batch, network.clock.Now(), gateway.out);
  network.Collect(gateway);
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("late"));
  // Not from outside its own prefix.
  batch.Clear();
  batch.AppendCopy(TextPacket(Address("10.78.0.1"), b.address, "foreign"));
  gateway.device.SendTo(b.key(), batch, network.clock.Now(), gateway.out);
  network.Collect(gateway);
  network.DeliverAll();
  EXPECT_EQ(b.device.drops()[DropReason::kSourceNotAllowed], 1u);
}

TEST_F(DeviceRoutingTest, WithoutRelayTheLongestPrefixOwnsTheSource) {
  PeerConfig config = network.ConfigOf(gateway);
  config.allowed_ips = {Prefix("10.77.0.0/16")};
  network.SetPeer(b, config);
  Introduce();
  network.SendText(a, b, "by the gateway");
  DeliverAndRelay();
  EXPECT_EQ(b.device.drops()[DropReason::kSourceNotAllowed], 1u);
  EXPECT_THAT(b.inbox, IsEmpty());
}

TEST_F(DeviceRoutingTest, AHostMayNotSpeakForAnother) {
  Introduce();
  network.Connect(a, b);
  DeliverAndRelay();
  PacketBatch batch;
  batch.AppendCopy(TextPacket(gateway.address, b.address, "I am the gateway"));
  a.device.SendTo(b.key(), batch, network.clock.Now(), a.out);
  network.Collect(a);
  network.DeliverAll();
  EXPECT_EQ(b.device.drops()[DropReason::kSourceNotAllowed], 1u);
  EXPECT_THAT(b.inbox, IsEmpty());
}

TEST_F(DeviceRoutingTest, AStandbyPeerAloneIsNoRoute) {
  a.device.RemovePeer(gateway.key());
  Introduce();
  network.SendText(a, b, "x");
  EXPECT_EQ(a.device.drops()[DropReason::kNoRoute], 1u);
  network.DeliverAll();
  network.SendText(a, b, "y");
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("y"));
}

}  // namespace
}  // namespace im::tunnel
