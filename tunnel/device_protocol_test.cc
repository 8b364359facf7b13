// What other implementations got wrong, or what is easily forgotten of [W]:
// each test has the name of the promise.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tunnel/cookie.h"
#include "tunnel/device.h"
#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class DeviceProtocolTest : public ::testing::Test {
 protected:
  explicit DeviceProtocolTest(const Device::Options& options = {}) : network(1, options) {}

  void BringUp() {
    network.Introduce(a, b);
    network.SendText(a, b, "hello");
    network.DeliverAll();
    ASSERT_THAT(b.texts(), ElementsAre("hello"));
    b.inbox.clear();
    network.log.clear();
  }
  // Takes the first datagram off the wire and gives it to its receiver as one
  // that came to its address `local`.
  void DeliverOneTo(const IpAddress& local) {
    const WireDatagram datagram = network.wire.front();
    network.wire.pop_front();
    Node& node = *network.NodeAt(datagram.to);
    DatagramBatch batch;
    batch.AddCopy(datagram.from, datagram.bytes);
    batch.runs().back().local = local;
    node.device.OnDatagrams(batch, network.clock.Now(), node.out);
  }
  static std::vector<IpAddress> LocalsOf(const Node& node) {
    std::vector<IpAddress> all;
    for (const DatagramRun& run : node.out.datagrams.runs()) all.push_back(run.local);
    return all;
  }

  TestNetwork network;
  Node& a = network.Add();
  Node& b = network.Add();
};

// ---- the replay window -----------------------------------------------------

TEST_F(DeviceProtocolTest, NothingIsLostByReorderingOfEightThousandPackets) {
  BringUp();
  for (int i = 0; i < 8000; ++i) network.SendText(a, b, std::to_string(i));
  std::reverse(network.wire.begin(), network.wire.end());
  network.DeliverAll();
  EXPECT_THAT(b.inbox, SizeIs(8000));
  EXPECT_EQ(b.device.drops().total(), 0u);
}

// ---- endpoints and source addresses ----------------------------------------

TEST_F(DeviceProtocolTest, AnEndpointMayChangeItsFamilyAndBack) {
  BringUp();
  const Endpoint old_place = a.endpoint;
  for (const Endpoint& place : {*Endpoint::Parse("[2001:db8::7]:777"), old_place}) {
    a.endpoint = place;
    network.SendText(a, b, "from elsewhere");
    network.DeliverAll();
    EXPECT_EQ(b.device.GetPeer(a.key())->endpoint, place);
    network.SendText(b, a, "found you");
    network.DeliverAll();
    EXPECT_THAT(a.texts(), ElementsAre("found you"));
    a.inbox.clear();
  }
}

TEST_F(DeviceProtocolTest, AnswersComeFromTheAddressThatWasSpokenTo) {
  network.Introduce(a, b);
  network.SendText(a, b, "hello");
  const IpAddress first = Address("203.0.113.1");
  DeliverOneTo(first);
  EXPECT_THAT(LocalsOf(b), ElementsAre(first)) << "the response";
  network.Collect(b);
  network.DeliverAll();
  // Data, too, and the newest address counts.
  const IpAddress second = Address("203.0.113.2");
  network.SendText(a, b, "to the second");
  DeliverOneTo(second);
  PacketBatch batch;
  batch.AppendCopy(TextPacket(b.address, a.address, "answer"));
  b.device.OnInsidePackets(batch, network.clock.Now(), b.out);
  EXPECT_THAT(LocalsOf(b), ElementsAre(second));
}

TEST_F(DeviceProtocolTest, WhenNobodyAnswersTheKernelChoosesTheSourceAnew) {
  network.Introduce(a, b);
  network.SendText(a, b, "hello");
  DeliverOneTo(Address("203.0.113.1"));
  network.Collect(b);
  network.DeliverAll();
  network.filter = [](const WireDatagram&) { return false; };
  network.SendText(b, a, "into the void");
  network.DeliverAll();
  // 15 s without an answer ([W] 6.5): the route may be another one now.
  network.clock.Advance(seconds(16));
  b.device.OnTimer(network.clock.Now(), b.out);
  ASSERT_THAT(LocalsOf(b), SizeIs(1));
  EXPECT_THAT(LocalsOf(b), Each(IpAddress()));
}

TEST_F(DeviceProtocolTest, ARepeatedInitiationLeavesTheSourceToTheKernel) {
  network.Introduce(a, b);
  network.SendText(a, b, "hello");
  DeliverOneTo(Address("203.0.113.1"));
  network.Collect(b);
  network.wire.clear();  // the response is lost
  b.device.Connect(a.key(), network.clock.Now(), b.out);
  EXPECT_THAT(LocalsOf(b), ElementsAre(Address("203.0.113.1"))) << "the address that worked";
  network.Collect(b);
  network.wire.clear();
  network.clock.Advance(seconds(6));
  b.device.OnTimer(network.clock.Now(), b.out);
  EXPECT_THAT(LocalsOf(b), ElementsAre(IpAddress()));
}

TEST_F(DeviceProtocolTest, BothFamiliesCrossOneSession) {
  for (auto [node, peer, inside] : {std::tuple(&a, &b, "fd00::b"), std::tuple(&b, &a, "fd00::a")}) {
    PeerConfig config = network.ConfigOf(*peer);
    config.allowed_ips.push_back(IpPrefix::Host(Address(inside)));
    network.SetPeer(*node, config);
  }
  network.SendText(a, b, "four");
  network.DeliverAll();
  network.Send(a, TextPacket(Address("fd00::a"), Address("fd00::b"), "six"));
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("four", "six"));
  EXPECT_EQ(network.CountLogged(MessageType::kInitiation), 1u);
}

// ---- limits and time -------------------------------------------------------

TEST_F(DeviceProtocolTest, AfterASleepNothingIsSealedUnderTheOldKeys) {
  BringUp();
  // No timer ran: the machine was asleep.
  network.clock.Advance(std::chrono::hours(1));
  network.SendText(a, b, "good morning");
  ASSERT_THAT(network.log, SizeIs(1));
  EXPECT_EQ(network.log[0].type(), MessageType::kInitiation);
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("good morning"));
  // Then they do, all at once: nothing comes of it.
  network.RunTimers();
  network.SendText(b, a, "and to you");
  network.DeliverAll();
  EXPECT_THAT(a.texts(), ElementsAre("and to you"));
  EXPECT_EQ(network.CountLogged(MessageType::kInitiation), 1u);
}

TEST_F(DeviceProtocolTest, AResponderWhoseSessionIsDeadInitiatesItself) {
  BringUp();
  network.Pass(seconds(181));
  network.log.clear();
  network.SendText(b, a, "from the responder");
  network.DeliverAll();
  EXPECT_EQ(network.log[0].type(), MessageType::kInitiation);
  EXPECT_EQ(network.log[0].from, b.endpoint);
  EXPECT_THAT(a.texts(), ElementsAre("from the responder"));
}

TEST_F(DeviceProtocolTest, ALostRenewalIsRepeatedWhileTheOldSessionCarriesOn) {
  BringUp();
  network.clock.Advance(seconds(121));
  network.filter = [](const WireDatagram& d) { return d.type() == MessageType::kTransport; };
  for (int i = 0; i < 50; ++i) {
    network.SendText(a, b, std::to_string(i));
    network.DeliverAll();
    network.SendText(b, a, std::to_string(i));
    network.DeliverAll();
    network.Pass(seconds(1));
  }
  EXPECT_THAT(b.inbox, SizeIs(50));
  EXPECT_THAT(a.inbox, SizeIs(50));
  EXPECT_THAT(a.downs, IsEmpty());
  EXPECT_GE(network.CountLogged(MessageType::kInitiation), 9u) << "every five seconds or so";
  EXPECT_LE(network.CountLogged(MessageType::kInitiation), 11u);
}

TEST_F(DeviceProtocolTest, AQuietPeerIsAskedOnlyOnceForANewHandshakePerUnansweredPacket) {
  BringUp();
  network.filter = [](const WireDatagram&) { return false; };
  for (int i = 0; i < 14; ++i) {
    network.SendText(a, b, "anybody?");
    network.Pass(seconds(1));
  }
  EXPECT_EQ(network.CountLogged(MessageType::kInitiation), 0u) << "not before 15 s";
  network.Pass(seconds(2));
  EXPECT_EQ(network.CountLogged(MessageType::kInitiation), 1u);
}

TEST_F(DeviceProtocolTest, SessionIndicesCannotBeGuessed) {
  network.Introduce(a, b);
  std::set<uint32_t> high_halves;
  for (int i = 0; i < 20; ++i) {
    network.Connect(a, b);
    network.DeliverAll();
    network.Pass(seconds(181));
  }
  for (const WireDatagram& datagram : network.log) {
    if (datagram.type() != MessageType::kInitiation) continue;
    high_halves.insert(ReadMessage<InitiationMessage>(datagram.bytes).sender >> 16);
  }
  EXPECT_GE(high_halves.size(), 15u) << "numbered one after the other?";
}

// ---- robustness ------------------------------------------------------------

TEST_F(DeviceProtocolTest, GarbageOfTheLargestSizeIsCountedAndForgotten) {
  BringUp();
  for (uint8_t type = 0; type < 6; ++type) {
    WireDatagram huge;
    huge.from = *Endpoint::Parse("198.51.100.66:666");
    huge.to = b.endpoint;
    huge.bytes.assign(kGsoBytesMax, 0xff);
    std::fill(huge.bytes.begin(), huge.bytes.begin() + 4, 0);
    huge.bytes[0] = type;
    network.Deliver(huge);
  }
  EXPECT_EQ(b.device.drops()[DropReason::kMalformed], 5u);
  EXPECT_EQ(b.device.drops()[DropReason::kUnknownIndex], 1u);
  network.SendText(a, b, "still there");
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("still there"));
}

TEST_F(DeviceProtocolTest, ATrainWithOddSegmentSizesIsCutAsItSays) {
  BringUp();
  // Two messages and a stump that the kernel took for one train.
  network.SendText(a, b, "one");
  network.SendText(a, b, "two");
  ByteVector train = network.wire[0].bytes;
  const size_t size = train.size();
  train.insert(train.end(), network.wire[1].bytes.begin(), network.wire[1].bytes.end());
  train.resize(train.size() + 5, 0);
  network.wire.clear();
  DatagramBatch batch;
  batch.AddCopy(a.endpoint, train);
  batch.runs().back().segment_size = static_cast<uint32_t>(size);
  b.device.OnDatagrams(batch, network.clock.Now(), b.out);
  network.Collect(b);
  EXPECT_THAT(b.texts(), ElementsAre("one", "two"));
  EXPECT_EQ(b.device.drops()[DropReason::kMalformed], 1u);
}

// ---- under load ([W] 5.3) --------------------------------------------------

class DeviceProtocolLoadTest : public DeviceProtocolTest {
 protected:
  static constexpr int kLimit = 10;
  DeviceProtocolLoadTest() : DeviceProtocolTest({.under_load_handshakes_per_second = kLimit}) {}

  // An initiation that opens to nothing, with a right MAC1 and whatever MAC2
  // `holder` has for it.
  WireDatagram Forged(const Node& to, const Endpoint& from, CookieHolder& holder) {
    WireDatagram datagram{from, to.endpoint, ByteVector(sizeof(InitiationMessage)), 0};
    datagram.bytes[0] = 1;
    datagram.bytes[8] = static_cast<uint8_t>(++forged_);
    holder.AddMacs(datagram.bytes, to.key(), network.clock.Now(), kCookieRefreshTime);
    return datagram;
  }
  void Load(Node& node) {
    CookieHolder nothing;
    for (int i = 0; i <= kLimit; ++i)
      network.Deliver(Forged(node, *Endpoint::Parse("198.51.100.66:666"), nothing));
    network.wire.clear();
    network.log.clear();
  }
  int forged_ = 0;
};

TEST_F(DeviceProtocolLoadTest, AnInitiatorUnderLoadGivesTheResponderACookieToo) {
  network.Introduce(a, b);
  network.SendText(a, b, "hello");
  Load(a);
  network.wire.clear();
  network.Connect(a, b);
  network.SendText(a, b, "hello");  // nothing new: the handshake is under way
  EXPECT_THAT(network.wire, IsEmpty());
  network.clock.Advance(seconds(6));
  Load(a);
  network.RunTimers();
  ASSERT_THAT(network.wire, SizeIs(1));
  network.DeliverOne();  // initiation: b is at rest
  network.DeliverOne();  // response: a is not
  ASSERT_THAT(network.wire, SizeIs(1));
  EXPECT_EQ(network.wire[0].type(), MessageType::kCookieReply);
  EXPECT_EQ(network.wire[0].from, a.endpoint);
  network.DeliverAll();
  EXPECT_THAT(b.inbox, IsEmpty());
  EXPECT_EQ(b.device.drops().total(), 0u) << "b has taken the cookie";
  network.clock.Advance(seconds(6));
  Load(a);
  network.RunTimers();
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("hello", "hello"));
}

TEST_F(DeviceProtocolLoadTest, AnIpv6SourceIsItsNetworkOf64Bits) {
  network.Introduce(a, b);
  Load(b);
  // Cookies for many addresses of one /64, all of one attacker.
  uint64_t opened = b.device.drops()[DropReason::kDecryptFailed];
  auto attack = [&](const std::string& prefix) {
    const uint64_t before = b.device.drops()[DropReason::kDecryptFailed];
    for (int i = 1; i <= 20; ++i) {
      const Endpoint from{Address(prefix + std::to_string(i)), 666};
      CookieHolder holder;
      network.Deliver(Forged(b, from, holder));
      const WireDatagram reply = network.wire.front();
      network.wire.clear();
      EXPECT_TRUE(holder.Take(ReadMessage<CookieReplyMessage>(reply.bytes), b.key(),
                              network.clock.Now()));
      network.Deliver(Forged(b, from, holder));
      network.wire.clear();
    }
    return b.device.drops()[DropReason::kDecryptFailed] - before;
  };
  EXPECT_GT(opened, 0u);
  EXPECT_EQ(attack("2001:db8:0:1::"), static_cast<uint64_t>(kSourceHandshakesBurst));
  EXPECT_EQ(attack("2001:db8:0:2::"), static_cast<uint64_t>(kSourceHandshakesBurst))
      << "another network is another source";
}

TEST_F(DeviceProtocolLoadTest, TheHonestPeerOfAFloodedDeviceKeepsItsSession) {
  network.Introduce(a, b);
  BringUp();
  // Three lives of a session, with a flood all along.
  for (int i = 0; i < 400; ++i) {
    Load(b);
    network.SendText(a, b, "x");
    network.DeliverAll();
    network.SendText(b, a, "y");
    network.DeliverAll();
    network.Pass(seconds(1));
  }
  EXPECT_THAT(b.inbox, SizeIs(400));
  EXPECT_THAT(a.inbox, SizeIs(400));
  EXPECT_THAT(a.downs, IsEmpty());
  EXPECT_THAT(b.downs, IsEmpty());
}

}  // namespace
}  // namespace im::tunnel
