// What others may put on the wire: each thing is counted under its reason, and
// nothing else happens.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tunnel/cookie.h"
#include "tunnel/device.h"
#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class DeviceAttackTest : public ::testing::Test {
 protected:
  void BringUp() {
    network.Introduce(a, b);
    network.SendText(a, b, "hello");
    network.DeliverAll();
    b.inbox.clear();
    network.log.clear();
  }
  // The next datagram that `from` would send with this text, taken off the wire.
  WireDatagram Capture(Node& from, const Node& to, const std::string& text) {
    network.SendText(from, to, text);
    const WireDatagram datagram = network.wire.back();
    network.wire.pop_back();
    return datagram;
  }
  // Delivers it to b and expects no reaction but one count.
  void ExpectDropped(const WireDatagram& datagram, DropReason reason, const std::string& what) {
    const uint64_t count = b.device.drops()[reason];
    const uint64_t total = b.device.drops().total();
    const auto inbox = b.inbox.size();
    const auto endpoint = b.device.GetPeer(a.key())->endpoint;
    const auto rx = b.device.GetPeer(a.key())->rx_bytes;
    network.Deliver(datagram);
    EXPECT_EQ(b.device.drops()[reason], count + 1) << what;
    EXPECT_EQ(b.device.drops().total(), total + 1) << what;
    EXPECT_EQ(b.inbox.size(), inbox) << what;
    EXPECT_EQ(b.device.GetPeer(a.key())->endpoint, endpoint) << what;
    EXPECT_EQ(b.device.GetPeer(a.key())->rx_bytes, rx) << what;
    EXPECT_THAT(network.wire, IsEmpty()) << what;
  }

  TestNetwork network;
  Node& a = network.Add();
  Node& b = network.Add();
  const Endpoint attacker = *Endpoint::Parse("198.51.100.66:666");
};

TEST_F(DeviceAttackTest, AnyFlippedBitOfATransportMessage) {
  BringUp();
  const WireDatagram good = Capture(a, b, "data");
  for (size_t i = 0; i < good.bytes.size(); ++i) {
    WireDatagram bad = good;
    bad.from = attacker;
    bad.bytes[i] ^= static_cast<uint8_t>(1 << (i % 8));
    // Header: type and reserved bytes, receiver, counter.
    const DropReason reason = i < 4   ? DropReason::kMalformed
                              : i < 8 ? DropReason::kUnknownIndex
                                      : DropReason::kDecryptFailed;
    if (i == 8) bad.bytes[i] = 0x55;   // a counter not seen
    if (i == 15) bad.bytes[i] = 0x7f;  // one below the limit
    ExpectDropped(bad, reason, "byte " + std::to_string(i));
  }
  WireDatagram beyond = good;
  std::fill(beyond.bytes.begin() + 8, beyond.bytes.begin() + 16, 0xff);
  ExpectDropped(beyond, DropReason::kReplayed, "a counter that no session has");
  network.Deliver(good);
  EXPECT_THAT(b.texts(), ElementsAre("data"));
}

TEST_F(DeviceAttackTest, AnyTruncation) {
  BringUp();
  const WireDatagram good = Capture(a, b, "data");
  for (size_t size = 1; size < good.bytes.size(); ++size) {
    WireDatagram bad = good;
    bad.bytes.resize(size);
    ExpectDropped(bad,
                  size < kTransportOverhead ? DropReason::kMalformed : DropReason::kDecryptFailed,
                  std::to_string(size));
  }
  WireDatagram longer = good;
  longer.bytes.push_back(0);
  ExpectDropped(longer, DropReason::kDecryptFailed, "longer");
  network.Deliver(good);
  EXPECT_THAT(b.texts(), ElementsAre("data"));
}

TEST_F(DeviceAttackTest, ReplaysAreSeenWithinOneBatchAndLater) {
  BringUp();
  const WireDatagram good = Capture(a, b, "data");
  DatagramBatch batch;
  batch.AddCopy(good.from, good.bytes);
  batch.AddCopy(good.from, good.bytes);
  b.device.OnDatagrams(batch, network.clock.Now(), b.out);
  network.Collect(b);
  EXPECT_THAT(b.texts(), ElementsAre("data"));
  EXPECT_EQ(b.device.drops()[DropReason::kReplayed], 1u);
  WireDatagram later = good;
  later.from = attacker;
  ExpectDropped(later, DropReason::kReplayed, "later");
}

TEST_F(DeviceAttackTest, AReflectedMessageIsNotOurs) {
  BringUp();
  WireDatagram sent = Capture(b, a, "data");
  std::swap(sent.from, sent.to);
  ExpectDropped(sent, DropReason::kUnknownIndex, "reflected");
  // Even under b's own index.
  const WireDatagram to_b = Capture(a, b, "data");
  std::copy(to_b.bytes.begin() + 4, to_b.bytes.begin() + 8, sent.bytes.begin() + 4);
  sent.bytes[8] = 100;  // a counter not seen
  ExpectDropped(sent, DropReason::kDecryptFailed, "reflected with our index");
}

TEST_F(DeviceAttackTest, AFlippedBitOfAHandshakeMessageIsCaughtByMac1) {
  network.Introduce(a, b);
  const WireDatagram good = Capture(a, b, "data");
  ASSERT_EQ(good.type(), MessageType::kInitiation);
  for (size_t i = 4; i < good.bytes.size() - kMacBytes; ++i) {
    WireDatagram bad = good;
    bad.from = attacker;
    bad.bytes[i] ^= 0x10;
    ExpectDropped(bad, DropReason::kBadMac, std::to_string(i));
  }
  for (size_t size : {4, 100, 147, 149}) {
    WireDatagram bad = good;
    bad.bytes.resize(size);
    ExpectDropped(bad, DropReason::kMalformed, std::to_string(size));
  }
}

// Puts a right MAC1 on a message to b.
void Remac(WireDatagram& datagram, const Node& receiver) {
  CookieHolder().AddMacs(datagram.bytes, receiver.key(), Instant(), seconds(120));
}

TEST_F(DeviceAttackTest, AForgedInitiationWithARightMac1OpensNothing) {
  network.Introduce(a, b);
  const WireDatagram good = Capture(a, b, "data");
  for (size_t i : {8, 39, 40, 87, 88, 115}) {
    WireDatagram bad = good;
    bad.from = attacker;
    bad.bytes[i] ^= 1;
    Remac(bad, b);
    ExpectDropped(bad, DropReason::kDecryptFailed, std::to_string(i));
  }
}

TEST_F(DeviceAttackTest, AStrangersInitiation) {
  Node& c = network.Add();
  network.Introduce(a, b);
  network.SetPeer(c, network.ConfigOf(b));
  ExpectDropped(Capture(c, b, "let me in"), DropReason::kUnknownPeer, "stranger");
}

TEST_F(DeviceAttackTest, AReplayedInitiation) {
  network.Introduce(a, b);
  network.SendText(a, b, "data");
  WireDatagram initiation = network.wire.front();
  network.DeliverAll();
  initiation.from = attacker;
  network.Pass(seconds(1));
  ExpectDropped(initiation, DropReason::kStaleTimestamp, "replayed");
  // The session goes on.
  network.SendText(a, b, "more");
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("data", "more"));
}

TEST_F(DeviceAttackTest, OnePeerCannotHaveUsAnswerWithoutEnd) {
  network.Introduce(a, b);
  // A new attempt each millisecond, by a new preshared key of a's.
  for (int i = 0; i < 100; ++i) {
    PeerConfig config = network.ConfigOf(b);
    config.preshared_key = GeneratePrivateKey(network.random);
    network.SetPeer(a, config);
    network.Connect(a, b);
    network.DeliverAll();
    network.Pass(milliseconds(1));
  }
  EXPECT_LE(network.CountLogged(MessageType::kResponse), 6u);
  EXPECT_GE(b.device.drops()[DropReason::kRateLimited], 90u);
}

TEST_F(DeviceAttackTest, ForgedAndReplayedResponses) {
  network.Introduce(a, b);
  network.SendText(b, a, "data");
  network.DeliverOne();
  WireDatagram response = network.wire.front();
  network.wire.pop_front();
  ASSERT_EQ(response.type(), MessageType::kResponse);
  WireDatagram forged = response;
  forged.from = attacker;
  forged.bytes[20] ^= 1;
  ExpectDropped(forged, DropReason::kBadMac, "without MAC1");
  Remac(forged, b);
  ExpectDropped(forged, DropReason::kDecryptFailed, "with MAC1");
  WireDatagram elsewhere = response;
  elsewhere.bytes[8] ^= 1;
  Remac(elsewhere, b);
  ExpectDropped(elsewhere, DropReason::kUnknownIndex, "another receiver");
  // The handshake was not disturbed.
  network.Deliver(response);
  network.DeliverAll();
  EXPECT_THAT(a.texts(), ElementsAre("data"));
  response.from = attacker;
  ExpectDropped(response, DropReason::kUnknownIndex, "replayed");
}

TEST_F(DeviceAttackTest, PacketsThatArePartlyOrNotAtAllIp) {
  network.Introduce(a, b);
  network.Connect(a, b);
  network.DeliverAll();
  const auto send = [&](ByteVector plaintext) {
    PacketBatch batch;
    batch.AppendCopy(plaintext);
    a.device.SendTo(b.key(), batch, network.clock.Now(), a.out);
    network.Collect(a);
    network.DeliverAll();
  };
  ByteVector good = TextPacket(a.address, b.address, "twelve bytes");
  ByteVector longer = good;
  longer[3] = 0xff;  // total length
  send(longer);
  ByteVector version = good;
  version[0] = 0x75;
  send(version);
  ByteVector header = good;
  header[0] = 0x44;  // a header of 16 bytes
  send(header);
  send(ByteVector(20, 0x60));
  EXPECT_EQ(b.device.drops()[DropReason::kMalformed], 4u);
  EXPECT_EQ(b.device.drops().total(), 4u);
  EXPECT_THAT(b.inbox, IsEmpty());
  send(TextPacket(b.address, b.address, "spoofed"));
  send(TextPacket(Address("10.77.0.99"), b.address, "spoofed"));
  send(TextPacket(Address("fd00::1"), Address("fd00::2"), "spoofed"));
  EXPECT_EQ(b.device.drops()[DropReason::kSourceNotAllowed], 3u);
  EXPECT_THAT(b.inbox, IsEmpty());
  // Padding and more behind the packet is cut off.
  good.resize(good.size() + 33);
  send(good);
  ASSERT_EQ(b.inbox.size(), 1u);
  EXPECT_EQ(b.inbox[0].size(), good.size() - 33);
}

TEST_F(DeviceAttackTest, RoamingFollowsAuthenticDataOnly) {
  BringUp();
  const Endpoint moved = *Endpoint::Parse("203.0.113.7:7000");
  WireDatagram datagram = Capture(a, b, "from elsewhere");
  datagram.from = moved;
  network.Deliver(datagram);
  EXPECT_EQ(b.device.GetPeer(a.key())->endpoint, moved);
  network.SendText(b, a, "there");
  EXPECT_EQ(network.wire.back().to, moved);
  network.wire.clear();
  // A replay from elsewhere moves nothing.
  datagram.from = attacker;
  ExpectDropped(datagram, DropReason::kReplayed, "replay");
  // Nor does a stranger; a handshake of the peer itself does.
  a.endpoint = *Endpoint::Parse("203.0.113.8:8000");
  network.Pass(seconds(181));
  network.Connect(a, b);
  network.DeliverAll();
  EXPECT_EQ(b.device.GetPeer(a.key())->endpoint, a.endpoint);
}

class DeviceLoadTest : public DeviceAttackTest {
 protected:
  // Somebody who knows b's public key keeps it busy.
  void Flood(int messages) {
    WireDatagram datagram;
    datagram.from = attacker;
    datagram.to = b.endpoint;
    datagram.bytes.resize(sizeof(InitiationMessage));
    datagram.bytes[0] = 1;
    for (int i = 0; i < messages; ++i) {
      datagram.bytes[8] = static_cast<uint8_t>(i);
      datagram.bytes[9] = static_cast<uint8_t>(i >> 8);
      Remac(datagram, b);
      network.Deliver(datagram);
    }
    network.wire.clear();
    network.log.clear();
  }
};

TEST_F(DeviceLoadTest, UnderLoadTheHonestGetInWithACookie) {
  network.Introduce(a, b);
  Flood(kWastedHandshakesBurst + 1);
  EXPECT_EQ(b.device.drops()[DropReason::kRateLimited], 0u);
  network.SendText(a, b, "hello");
  network.DeliverAll();
  ASSERT_EQ(network.log.size(), 2u);
  EXPECT_EQ(network.log[1].type(), MessageType::kCookieReply);
  EXPECT_EQ(network.log[1].to, a.endpoint);
  EXPECT_EQ(b.device.drops()[DropReason::kRateLimited], 1u);
  EXPECT_EQ(a.device.drops().total(), 0u);
  EXPECT_EQ(a.device.GetPeer(b.key())->endpoint, b.endpoint);
  // The retry shows it, still under load.
  const Duration retry = network.NextDeadline() - network.clock.Now();
  network.clock.Advance(retry - milliseconds(1));
  Flood(kUnderLoadHandshakesPerSecond + 1);
  network.Pass(milliseconds(2));
  EXPECT_THAT(b.texts(), ElementsAre("hello"));
}

TEST_F(DeviceLoadTest, ACookieReplyFromElsewhereDoesNotMoveTheEndpoint) {
  network.Introduce(a, b);
  Flood(kUnderLoadHandshakesPerSecond + 1);
  network.SendText(a, b, "hello");
  network.DeliverOne();
  WireDatagram reply = network.wire.front();
  network.wire.clear();
  ASSERT_EQ(reply.type(), MessageType::kCookieReply);
  reply.from = attacker;
  network.Deliver(reply);
  EXPECT_EQ(a.device.GetPeer(b.key())->endpoint, b.endpoint);
  EXPECT_EQ(a.device.drops().total(), 0u);
  // Only the first one counts, and forged ones do not.
  network.Deliver(reply);
  EXPECT_EQ(a.device.drops()[DropReason::kDecryptFailed], 1u);
  reply.bytes[4] ^= 1;
  network.Deliver(reply);
  EXPECT_EQ(a.device.drops()[DropReason::kUnknownIndex], 1u);
}

TEST_F(DeviceLoadTest, AFloodIsNotAnsweredMessageByMessage) {
  network.Introduce(a, b);
  Flood(kWastedHandshakesBurst + 1);
  WireDatagram datagram;
  datagram.from = attacker;
  datagram.to = b.endpoint;
  datagram.bytes.resize(sizeof(InitiationMessage));
  datagram.bytes[0] = 1;
  for (int i = 0; i < 10 * kCookieRepliesBurst; ++i) {
    datagram.bytes[8] = static_cast<uint8_t>(i);
    Remac(datagram, b);
    network.Deliver(datagram);
  }
  EXPECT_EQ(network.CountLogged(MessageType::kCookieReply), size_t{kCookieRepliesBurst});
  // Others get theirs.
  network.wire.clear();
  network.SendText(a, b, "hello");
  network.DeliverAll();
  EXPECT_EQ(network.CountLogged(MessageType::kCookieReply), size_t{kCookieRepliesBurst} + 1);
}

TEST_F(DeviceLoadTest, EvenWithACookieASourceIsLimited) {
  network.Introduce(a, b);
  Flood(kWastedHandshakesBurst + 1);
  // The attacker plays by the rules now: one cookie, then as fast as it can.
  CookieHolder holder;
  WireDatagram datagram;
  datagram.from = attacker;
  datagram.to = b.endpoint;
  datagram.bytes.resize(sizeof(InitiationMessage));
  datagram.bytes[0] = 1;
  holder.AddMacs(datagram.bytes, b.key(), network.clock.Now(), seconds(120));
  network.Deliver(datagram);
  ASSERT_EQ(network.wire.size(), 1u);
  ASSERT_TRUE(holder.Take(ReadMessage<CookieReplyMessage>(network.wire.front().bytes), b.key(),
                          network.clock.Now()));
  network.wire.clear();
  const uint64_t opened = b.device.drops()[DropReason::kDecryptFailed];
  for (int i = 0; i < 100; ++i) {
    datagram.bytes[8] = static_cast<uint8_t>(i);
    holder.AddMacs(datagram.bytes, b.key(), network.clock.Now(), seconds(120));
    network.Deliver(datagram);
  }
  EXPECT_EQ(b.device.drops()[DropReason::kDecryptFailed] - opened,
            static_cast<uint64_t>(kSourceHandshakesBurst));
  EXPECT_THAT(network.wire, IsEmpty());
}

TEST_F(DeviceLoadTest, LoadEnds) {
  network.Introduce(a, b);
  Flood(kUnderLoadHandshakesPerSecond + 1);
  network.Pass(seconds(2));
  network.SendText(a, b, "hello");
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("hello"));
}

TEST_F(DeviceLoadTest, DataFlowsUnderLoad) {
  BringUp();
  Flood(kUnderLoadHandshakesPerSecond + 100);
  network.SendText(a, b, "data");
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("data"));
}

}  // namespace
}  // namespace im::tunnel
