// [W] 6: what happens when time passes.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tunnel/device.h"
#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class DeviceTimerTest : public ::testing::Test {
 protected:
  void BringUp() {
    network.Introduce(a, b);
    network.SendText(a, b, "hello");
    network.DeliverAll();
    ASSERT_THAT(b.texts(), ElementsAre("hello"));
    b.inbox.clear();
    network.log.clear();
  }
  // Packets each way, every second.
  void Chat(seconds time) {
    for (seconds passed{0}; passed < time; passed += seconds(1)) {
      network.SendText(a, b, "ping");
      network.DeliverAll();
      network.SendText(b, a, "pong");
      network.DeliverAll();
      network.Pass(seconds(1));
    }
  }
  void LoseEverything() {
    network.filter = [](const WireDatagram&) { return false; };
  }
  size_t Initiations() const { return network.CountLogged(MessageType::kInitiation); }

  TestNetwork network;
  Node& a = network.Add();
  Node& b = network.Add();
};

TEST_F(DeviceTimerTest, AnUnansweredInitiationIsRepeatedWithNewKeysUntilGivenUp) {
  network.Introduce(a, b);
  LoseEverything();
  network.SendText(a, b, "hello");
  network.Pass(seconds(85));
  EXPECT_GE(Initiations(), 16u);
  EXPECT_THAT(a.downs, IsEmpty());
  network.Pass(seconds(15));
  EXPECT_EQ(Initiations(), 18u);
  EXPECT_THAT(a.downs, ElementsAre(b.key()));
  EXPECT_EQ(a.device.drops()[DropReason::kHeldTooLong], 1u);
  for (size_t i = 0; i + 1 < network.log.size(); ++i) {
    const auto one = ReadMessage<InitiationMessage>(network.log[i].bytes);
    const auto two = ReadMessage<InitiationMessage>(network.log[i + 1].bytes);
    EXPECT_NE(one.ephemeral, two.ephemeral);
    EXPECT_NE(one.sender, two.sender);
  }
  // Quiet from then on.
  network.Pass(seconds(600));
  EXPECT_EQ(Initiations(), 18u);
  EXPECT_EQ(a.device.NextDeadline(), kNever);
  // The next packet tries again.
  network.filter = nullptr;
  network.SendText(a, b, "again");
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("again"));
}

TEST_F(DeviceTimerTest, ALostInitiationOrResponseCostsOneRetry) {
  for (MessageType lost : {MessageType::kInitiation, MessageType::kResponse}) {
    TestNetwork net;
    Node& one = net.Add();
    Node& two = net.Add();
    net.Introduce(one, two);
    bool done = false;
    net.filter = [&](const WireDatagram& d) {
      const bool lose = !done && d.type() == lost;
      done = done || lose;
      return !lose;
    };
    net.SendText(one, two, "hello");
    net.Pass(seconds(5) + kHandshakeJitterMax);
    EXPECT_THAT(two.texts(), ElementsAre("hello"));
    EXPECT_EQ(net.CountLogged(MessageType::kInitiation), 2u);
    EXPECT_THAT(one.ups, ElementsAre(two.key()));
  }
}

TEST_F(DeviceTimerTest, ALostConfirmationIsMadeUpForByTheNextPacket) {
  network.Introduce(a, b);
  network.filter = [](const WireDatagram& d) { return d.type() != MessageType::kTransport; };
  network.Connect(a, b);
  network.DeliverAll();
  EXPECT_THAT(a.ups, ElementsAre(b.key()));
  EXPECT_THAT(b.ups, IsEmpty());
  EXPECT_FALSE(b.device.GetPeer(a.key())->session_live);
  network.filter = nullptr;
  network.SendText(a, b, "hello");
  network.DeliverAll();
  EXPECT_THAT(b.ups, ElementsAre(a.key()));
}

TEST_F(DeviceTimerTest, AQuietReceiverSendsOneKeepaliveAndIsNotAnswered) {
  BringUp();
  network.SendText(a, b, "data");
  network.DeliverAll();
  network.log.clear();
  network.Pass(seconds(9));
  EXPECT_THAT(network.log, IsEmpty());
  network.Pass(seconds(1));
  ASSERT_EQ(network.log.size(), 1u);
  EXPECT_TRUE(network.log[0].is_keepalive());
  EXPECT_EQ(network.log[0].from, b.endpoint);
  // Nothing more before the session ends.
  network.Pass(seconds(160));
  EXPECT_EQ(network.log.size(), 1u);
}

TEST_F(DeviceTimerTest, WhoAnswersWithDataSendsNoKeepalive) {
  BringUp();
  network.SendText(b, a, "answer");
  network.DeliverAll();
  network.SendText(a, b, "more");
  network.SendText(b, a, "answer");
  network.DeliverAll();
  network.log.clear();
  network.Pass(seconds(9));
  EXPECT_THAT(network.log, IsEmpty());
}

TEST_F(DeviceTimerTest, APeerThatDoesNotAnswerDataIsAskedForANewHandshake) {
  BringUp();
  LoseEverything();
  network.SendText(a, b, "into the void");
  network.Pass(seconds(14));
  EXPECT_EQ(Initiations(), 0u);
  network.Pass(seconds(1) + kHandshakeJitterMax);
  EXPECT_EQ(Initiations(), 1u);
  // A session that does not answer is not live, though it has time left.
  EXPECT_TRUE(a.device.GetPeer(b.key())->session_live);
  network.Pass(seconds(6));
  EXPECT_FALSE(a.device.GetPeer(b.key())->session_live);
  EXPECT_THAT(a.downs, IsEmpty());
  network.Pass(seconds(90));
  EXPECT_THAT(a.downs, ElementsAre(b.key()));
  network.Pass(seconds(200));
  EXPECT_EQ(a.downs.size(), 1u) << "told once";
}

TEST_F(DeviceTimerTest, APeerThatIsHeardAgainIsUpAgain) {
  BringUp();
  LoseEverything();
  network.SendText(a, b, "into the void");
  network.Pass(seconds(112));
  ASSERT_THAT(a.downs, ElementsAre(b.key()));
  // b never noticed, and the session is not 180 seconds old.
  network.filter = nullptr;
  network.SendText(b, a, "here I am");
  network.DeliverAll();
  EXPECT_THAT(a.texts(), ElementsAre("here I am"));
  EXPECT_EQ(a.ups.size(), 2u);
  EXPECT_TRUE(a.device.GetPeer(b.key())->session_live);
}

TEST_F(DeviceTimerTest, TheInitiatorRenewsASessionInUseAfterTwoMinutesWithoutLoss) {
  BringUp();
  Chat(seconds(119));
  EXPECT_EQ(Initiations(), 0u);
  Chat(seconds(3));
  EXPECT_EQ(Initiations(), 1u);
  Chat(seconds(478));
  EXPECT_EQ(Initiations(), 4u);
  for (const WireDatagram& d : network.log) {
    if (d.type() == MessageType::kInitiation) {
      EXPECT_EQ(d.from, a.endpoint);
    }
  }
  EXPECT_EQ(b.inbox.size(), 600u);
  EXPECT_EQ(a.inbox.size(), 600u);
  EXPECT_EQ(a.device.drops().total() + b.device.drops().total(), 0u);
  EXPECT_THAT(a.ups, ElementsAre(b.key()));
  EXPECT_THAT(a.downs, IsEmpty());
  EXPECT_THAT(b.downs, IsEmpty());
}

TEST_F(DeviceTimerTest, AnInitiatorThatOnlyReceivesRenewsInTime) {
  BringUp();
  // b talks, a answers with keepalives only; these count as sending.
  for (int i = 0; i < 170; ++i) {
    network.SendText(b, a, "x");
    network.Pass(seconds(1));
  }
  EXPECT_EQ(Initiations(), 1u);
  EXPECT_EQ(a.inbox.size(), 170u);
}

TEST_F(DeviceTimerTest, AnUnusedSessionExpiresAndIsToldAndForgotten) {
  BringUp();
  network.Pass(seconds(179));
  EXPECT_THAT(a.downs, IsEmpty());
  network.Pass(seconds(2));
  EXPECT_THAT(a.downs, ElementsAre(b.key()));
  EXPECT_THAT(b.downs, ElementsAre(a.key()));
  EXPECT_FALSE(a.device.GetPeer(b.key())->session_live);
  EXPECT_NE(a.device.NextDeadline(), kNever) << "the keys are still to be forgotten";
  network.Pass(seconds(360));
  EXPECT_EQ(a.device.NextDeadline(), kNever);
  EXPECT_EQ(b.device.NextDeadline(), kNever);
  // Data after that makes a new session.
  network.SendText(b, a, "hello again");
  network.DeliverAll();
  EXPECT_THAT(a.texts(), ElementsAre("hello again"));
  EXPECT_EQ(a.ups.size(), 2u);
}

TEST_F(DeviceTimerTest, NothingIsSentOrTakenUnderADeadSession) {
  BringUp();
  network.SendText(b, a, "delayed");
  const WireDatagram delayed = network.wire.front();
  network.wire.clear();
  LoseEverything();
  network.Pass(seconds(180));
  network.log.clear();
  network.Deliver(delayed);
  EXPECT_THAT(a.inbox, IsEmpty());
  EXPECT_EQ(a.device.drops()[DropReason::kUnknownIndex], 1u);
  network.SendText(a, b, "x");
  ASSERT_EQ(network.log.size(), 1u);
  EXPECT_EQ(network.log[0].type(), MessageType::kInitiation);
}

TEST_F(DeviceTimerTest, PersistentKeepaliveKeepsTheSessionForEver) {
  network.SetPeer(b, network.ConfigOf(a));
  PeerConfig of_b = network.ConfigOf(b);
  of_b.persistent_keepalive = seconds(25);
  network.SetPeer(a, of_b);
  EXPECT_EQ(Initiations(), 1u) << "it begins at once";
  network.Pass(seconds(25 * 60));
  EXPECT_THAT(a.downs, IsEmpty());
  EXPECT_THAT(b.downs, IsEmpty());
  EXPECT_THAT(b.ups, ElementsAre(a.key()));
  EXPECT_GE(network.CountLoggedKeepalives(), 50u);
  EXPECT_LE(network.CountLoggedKeepalives(), 75u);
  // Only a sends any, but for the answers of handshakes.
  for (const WireDatagram& d : network.log) {
    if (d.is_keepalive()) {
      EXPECT_EQ(d.from, a.endpoint);
    }
  }
  of_b.persistent_keepalive = seconds(0);
  network.SetPeer(a, of_b);
  network.log.clear();
  network.Pass(seconds(600));
  EXPECT_THAT(network.log, IsEmpty());
}

TEST_F(DeviceTimerTest, ADeviceThatIsDownForgetsItsSessionsAndIsSilent) {
  network.SetPeer(b, network.ConfigOf(a));
  PeerConfig of_b = network.ConfigOf(b);
  of_b.persistent_keepalive = seconds(25);
  network.SetPeer(a, of_b);
  network.DeliverAll();
  ASSERT_TRUE(a.device.GetPeer(b.key())->session_live);
  a.device.SetUp(false, network.clock.Now(), a.out);
  EXPECT_FALSE(a.device.GetPeer(b.key())->session_live);
  EXPECT_EQ(a.device.NextDeadline(), kNever);
  EXPECT_TRUE(a.out.datagrams.empty());
  of_b.persistent_keepalive = seconds(20);  // configured meanwhile: takes effect later
  network.SetPeer(a, of_b);
  EXPECT_EQ(a.device.NextDeadline(), kNever);
  EXPECT_TRUE(network.wire.empty());

  network.clock.Advance(seconds(1));  // b takes not many initiations at once
  a.device.SetUp(true, network.clock.Now(), a.out);
  network.Collect(a);
  network.DeliverAll();
  EXPECT_TRUE(a.device.GetPeer(b.key())->session_live);
}

TEST_F(DeviceTimerTest, PersistentKeepaliveTriesAgainAfterGivingUp) {
  LoseEverything();
  PeerConfig of_b = network.ConfigOf(b);
  of_b.persistent_keepalive = seconds(25);
  network.SetPeer(a, of_b);
  network.SetPeer(b, network.ConfigOf(a));
  network.Pass(seconds(1000));
  EXPECT_GE(a.downs.size(), 5u);
  network.filter = nullptr;
  network.Pass(seconds(30));
  EXPECT_THAT(a.ups, ElementsAre(b.key()));
}

TEST_F(DeviceTimerTest, BothInitiatingAtOnceSettleOnOneSessionWithoutLoss) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    TestNetwork net(seed);
    Node& one = net.Add();
    Node& two = net.Add();
    net.Introduce(one, two);
    net.SendText(one, two, "from one");
    net.SendText(two, one, "from two");
    ASSERT_EQ(net.wire.size(), 2u);
    net.DeliverAll();
    EXPECT_THAT(two.texts(), ElementsAre("from one")) << seed;
    EXPECT_THAT(one.texts(), ElementsAre("from two")) << seed;
    for (int i = 0; i < 200; ++i) {
      net.SendText(one, two, "x");
      net.SendText(two, one, "x");
      net.DeliverAll();
      net.Pass(seconds(1));
    }
    EXPECT_EQ(one.inbox.size(), 201u) << seed;
    EXPECT_EQ(two.inbox.size(), 201u) << seed;
    // Two at first, then one every two minutes.
    EXPECT_EQ(net.CountLogged(MessageType::kInitiation), 3u) << seed;
    EXPECT_EQ(one.device.drops().total() + two.device.drops().total(), 0u) << seed;
    EXPECT_EQ(one.ups.size(), 1u);
    EXPECT_EQ(two.ups.size(), 1u);
  }
}

TEST_F(DeviceTimerTest, AWallClockThatIsSetBackDoesNotStopHandshakes) {
  BringUp();
  network.clock.JumpWall(-std::chrono::hours(24 * 365));
  network.Pass(seconds(600));
  network.SendText(a, b, "new session");
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("new session"));
  network.clock.JumpWall(-std::chrono::hours(1));
  network.Pass(seconds(600));
  network.SendText(b, a, "from the other side");
  network.DeliverAll();
  EXPECT_THAT(a.texts(), ElementsAre("from the other side"));
  EXPECT_EQ(b.device.drops()[DropReason::kStaleTimestamp], 0u);
}

TEST_F(DeviceTimerTest, AGatewayThatRestartsAfterMuchChurnIsNotTakenForAReplay) {
  network.Introduce(a, b);
  for (int i = 0; i < 1000; ++i) {
    a.device.RemovePeer(b.key());
    network.SetPeer(a, network.ConfigOf(b));
    network.Connect(a, b);
    network.DeliverAll();
  }
  network.clock.Advance(seconds(1));
  network.Connect(a, b);
  network.DeliverAll();
  // The same key and place, and no memory of the stamps.
  network.nodes.push_back(std::make_unique<Node>(a.endpoint, a.address, a.device.private_key(),
                                                 Device::Options(), network.clock, network.random));
  Node& again = *network.nodes.back();
  a.endpoint.port = 1;
  network.clock.Advance(seconds(1));
  network.SetPeer(again, network.ConfigOf(b));
  network.SendText(again, b, "here again");
  network.DeliverAll();
  EXPECT_EQ(b.device.drops()[DropReason::kStaleTimestamp], 0u);
  EXPECT_THAT(b.texts(), ElementsAre("here again"));
}

TEST_F(DeviceTimerTest, ADivisorMakesEverythingFaster) {
  Device::Options options;
  options.time_divisor = 100;
  TestNetwork net(1, options);
  Node& one = net.Add();
  Node& two = net.Add();
  net.Introduce(one, two);
  net.SendText(one, two, "x");
  net.DeliverAll();
  net.Pass(milliseconds(1801));
  EXPECT_THAT(one.downs, ElementsAre(two.key()));
}

TEST_F(DeviceTimerTest, ASessionIsRenewedAndDiesByMessages) {
  Device::Options options;
  options.rekey_after_messages = 100;
  options.reject_after_messages = 150;
  TestNetwork net(1, options);
  Node& one = net.Add();
  Node& two = net.Add();
  net.Introduce(one, two);
  net.SendText(one, two, "0");
  net.DeliverAll();
  for (int i = 1; i < 99; ++i) net.SendText(one, two, "x");
  net.DeliverAll();
  EXPECT_EQ(net.CountLogged(MessageType::kInitiation), 1u);
  net.Pass(seconds(6));
  net.SendText(one, two, "the hundredth");
  net.DeliverAll();
  EXPECT_EQ(net.CountLogged(MessageType::kInitiation), 2u);
  EXPECT_EQ(two.inbox.size(), 100u);

  // Without an answer the session is used up to its end and no further.
  net.filter = [](const WireDatagram& d) { return d.type() == MessageType::kTransport; };
  for (int i = 0; i < 200; ++i) net.SendText(one, two, "y");
  net.DeliverAll();
  EXPECT_EQ(two.inbox.size(), 100u + 149u);  // one was the keepalive that confirmed
  // The rest is staged and leaves under the next session.
  net.filter = nullptr;
  net.Pass(seconds(6));
  EXPECT_EQ(two.inbox.size(), 300u);
  EXPECT_EQ(one.device.drops().total() + two.device.drops().total(), 0u);
}

TEST_F(DeviceTimerTest, TheResponderRenewsByMessagesToo) {
  Device::Options options;
  options.rekey_after_messages = 10;
  TestNetwork net(1, options);
  Node& one = net.Add();
  Node& two = net.Add();
  net.Introduce(one, two);
  net.Connect(one, two);
  net.DeliverAll();
  for (int i = 0; i < 10; ++i) net.SendText(two, one, "x");
  net.DeliverAll();
  EXPECT_EQ(net.log.back().from, two.endpoint);
  EXPECT_EQ(net.CountLogged(MessageType::kInitiation), 2u);
  EXPECT_EQ(one.inbox.size(), 10u);
}

}  // namespace
}  // namespace im::tunnel
