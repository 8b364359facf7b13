// The MTU of a path between two of our own ends, found and kept.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/checksum.h"
#include "tunnel/device.h"
#include "tunnel/path_mtu.h"
#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class DeviceMtuTest : public ::testing::Test {
 protected:
  explicit DeviceMtuTest(const Device::Options& options = {}) : network(1, options) {
    network.filter = [this](const WireDatagram& d) {
      largest = std::max(largest, d.bytes.size());
      const bool probe = std::find(kPathMtuLadder.begin(), kPathMtuLadder.end(),
                                   d.bytes.size() - kTransportOverhead) != kPathMtuLadder.end();
      return d.bytes.size() <= carries + kTransportOverhead || (fragments && !probe);
    };
  }
  void BringUp(bool ours = true) {
    for (auto [node, peer] : {std::pair(&a, &b), std::pair(&b, &a)}) {
      PeerConfig config = network.ConfigOf(*peer);
      config.probe_mtu = ours;
      network.SetPeer(*node, config);
    }
    network.Connect(a, b);
    network.DeliverAll();
    largest = 0;
  }
  ByteVector Tcp(size_t payload) const {
    return BuildTcp({a.address, 1000}, {b.address, 2000},
                    {.sequence = 1, .flags = kTcpAck, .window = 1000, .options = {}},
                    ByteVector(payload, 'x'));
  }
  // Large segments for a while; how many payload bytes arrived.
  size_t Stream(seconds time) {
    b.inbox.clear();
    for (seconds passed{0}; passed < time; passed += seconds(1)) {
      network.Send(a, Tcp(60000));
      network.Pass(seconds(1));
    }
    size_t bytes = 0;
    for (const ByteVector& packet : b.inbox) bytes += ParseIp(packet)->payload_size();
    return bytes;
  }
  int mtu() { return a.device.GetPeer(b.key())->mtu; }

  // One of 60,000 bytes in segments of 1380.
  void SendSuperPacket() {
    PacketBatch batch;
    batch.AppendCopy(Tcp(60000)).segment_size = 1380;
    a.device.OnInsidePackets(batch, network.clock.Now(), a.out);
    network.Collect(a);
  }

  TestNetwork network;
  Node& a = network.Add();
  Node& b = network.Add();
  size_t carries = 65475;
  bool fragments = false;  // larger ones, but probes, which are of the ladder's sizes
  size_t largest = 0;
};

TEST_F(DeviceMtuTest, AWidePathCarriesWholePackets) {
  BringUp();
  EXPECT_EQ(Stream(seconds(2)), 2 * 60000u) << "nothing is lost while it is found";
  EXPECT_EQ(mtu(), 65475);
  b.inbox.clear();
  network.Send(a, Tcp(60000));
  network.DeliverAll();
  EXPECT_THAT(b.inbox, SizeIs(1));
  EXPECT_EQ(b.device.drops().total(), 0u) << "probes are no malformed packets";
}

TEST_F(DeviceMtuTest, AForeignPeerIsNeverProbedAndNeverCutFor) {
  BringUp(/*ours=*/false);
  network.Send(a, Tcp(60000));
  network.Pass(seconds(60));
  EXPECT_THAT(b.inbox, SizeIs(1));
  EXPECT_EQ(mtu(), 1420);
}

TEST_F(DeviceMtuTest, PacketsOfOthersAreMadeToFitAForeignPeer) {
  BringUp(/*ours=*/false);
  PeerConfig config = network.ConfigOf(b);
  config.fit_mtu = true;
  network.SetPeer(a, config);
  EXPECT_TRUE(a.device.GetPeerConfig(b.key())->fit_mtu);
  network.Send(a, Tcp(60000));
  SendSuperPacket();
  network.DeliverAll();
  size_t bytes = 0;
  for (const ByteVector& packet : b.inbox) bytes += ParseIp(packet)->payload_size();
  EXPECT_EQ(bytes, 2 * 60000u);
  EXPECT_EQ(largest, 1420 + kTransportOverhead);
  a.inbox.clear();
  b.inbox.clear();
  network.Send(a, TextPacket(a.address, b.address, std::string(3000, 'x')));
  network.DeliverAll();
  EXPECT_THAT(b.inbox, IsEmpty());
  ASSERT_THAT(a.inbox, SizeIs(1)) << "who sent it is told";
  EXPECT_EQ(a.inbox[0][26] << 8 | a.inbox[0][27], 1420);
}

TEST_F(DeviceMtuTest, ANarrowPathLosesNothingOfTcp) {
  carries = 1440;
  BringUp();
  EXPECT_EQ(Stream(seconds(10)), 10 * 60000u);
  EXPECT_EQ(mtu(), 1440);
}

TEST_F(DeviceMtuTest, APathBelowTheUsualSizeIsFoundOut) {
  carries = 1250;
  BringUp();
  Stream(seconds(5));
  EXPECT_EQ(mtu(), 1200);
  EXPECT_EQ(Stream(seconds(5)), 5 * 60000u);
}

TEST_F(DeviceMtuTest, ABlackHoleIsSurvived) {
  BringUp();
  Stream(seconds(3));
  carries = 1440;
  Stream(seconds(14));
  EXPECT_EQ(mtu(), 1440);
  EXPECT_EQ(Stream(seconds(10)), 10 * 60000u);
  EXPECT_THAT(a.downs, IsEmpty());
}

TEST_F(DeviceMtuTest, ADatagramThatDoesNotFitIsAnsweredWithTheMtu) {
  carries = 1440;
  BringUp();
  Stream(seconds(5));
  a.inbox.clear();
  b.inbox.clear();
  network.Send(a, TextPacket(a.address, b.address, std::string(3000, 'x')));
  network.DeliverAll();
  EXPECT_THAT(b.inbox, IsEmpty());
  ASSERT_THAT(a.inbox, SizeIs(1));
  const auto error = ParseIp(a.inbox[0]);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->destination, a.address);
  EXPECT_EQ(error->icmp_type, 3);
  EXPECT_EQ(error->icmp_code, 4);
  EXPECT_EQ(a.inbox[0][26] << 8 | a.inbox[0][27], 1440);
  EXPECT_EQ(a.device.drops()[DropReason::kTooBig], 1u);
  // What it sends then arrives.
  network.Send(a, TextPacket(a.address, b.address, std::string(1440 - 28, 'x')));
  network.DeliverAll();
  EXPECT_THAT(b.inbox, SizeIs(1));
}

TEST_F(DeviceMtuTest, UntilTheMtuIsKnownLargeDatagramsAreNotDropped) {
  BringUp();
  for (int i = 0; i < 3; ++i) {
    network.Send(a, TextPacket(a.address, b.address, std::string(3000, 'x')));
    network.DeliverAll();
  }
  EXPECT_THAT(b.inbox, SizeIs(3));
  EXPECT_THAT(a.inbox, IsEmpty());
}

TEST_F(DeviceMtuTest, WhoSentLargeDatagramsIsToldWhenTheMtuIsKnownAndLosesNone) {
  carries = 1440;
  fragments = true;
  BringUp();
  // Two hosts behind A send to B, before anything is known of the path.
  const IpAddress other = Address("10.77.0.200");
  PeerConfig config = network.ConfigOf(a);
  config.probe_mtu = true;
  config.allowed_ips.push_back(IpPrefix::Host(other));
  network.SetPeer(b, config);
  const std::string large(3000, 'x');
  for (const IpAddress& from : {a.address, other, a.address}) {
    network.Send(a, TextPacket(from, b.address, large));
    // Too large for nobody.
    network.Send(a, TextPacket(from, b.address, std::string(1000, 'x')));
  }
  EXPECT_THAT(a.inbox, IsEmpty());
  network.Pass(seconds(5));
  EXPECT_THAT(b.inbox, SizeIs(6));
  EXPECT_EQ(mtu(), 1440);
  ASSERT_THAT(a.inbox, SizeIs(2)) << "each once";
  for (const ByteVector& packet : a.inbox) {
    const auto error = ParseIp(packet);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->icmp_type, 3);
    EXPECT_EQ(error->icmp_code, 4);
    EXPECT_EQ(packet[26] << 8 | packet[27], 1440);
  }
  EXPECT_EQ(ParseIp(a.inbox[0])->destination, a.address);
  EXPECT_EQ(ParseIp(a.inbox[1])->destination, other);
  EXPECT_EQ(a.device.drops().total(), 0u);
}

TEST_F(DeviceMtuTest, WhoseDatagramsFitAfterAllIsNotTold) {
  BringUp();
  network.Send(a, TextPacket(a.address, b.address, std::string(3000, 'x')));
  network.Pass(seconds(5));
  EXPECT_THAT(b.inbox, SizeIs(1));
  EXPECT_EQ(mtu(), 65475);
  EXPECT_THAT(a.inbox, IsEmpty());
}

TEST_F(DeviceMtuTest, AKernelThatForgotIsToldAgainWithoutALoss) {
  carries = 1440;
  fragments = true;
  BringUp();
  const auto send = [&](size_t size) {
    network.Send(a, TextPacket(a.address, b.address, std::string(size, 'x')));
  };
  send(3000);
  network.Pass(seconds(5));
  ASSERT_THAT(a.inbox, SizeIs(1));
  a.inbox.clear();
  b.inbox.clear();
  // Linux remembers an MTU for ten minutes; it is looked for anew as often.
  network.Pass(kRaiseInterval);
  send(3000);
  network.Pass(seconds(5));
  EXPECT_THAT(b.inbox, SizeIs(1));
  EXPECT_THAT(a.inbox, SizeIs(1));
  EXPECT_EQ(a.device.drops()[DropReason::kTooBig], 0u);
}

TEST_F(DeviceMtuTest, ATcpSenderIsToldOnceTheMtuIsKnown) {
  carries = 1440;
  BringUp();
  network.Send(a, Tcp(60000));
  network.DeliverAll();
  EXPECT_THAT(a.inbox, IsEmpty()) << "not known yet";
  Stream(seconds(5));
  EXPECT_FALSE(a.inbox.empty());
  EXPECT_LE(a.inbox.size(), 5u);
}

class JoiningDeviceMtuTest : public DeviceMtuTest {
 protected:
  JoiningDeviceMtuTest() : DeviceMtuTest({.join_mtu = 65475}) {}
  size_t StreamSuperPackets(seconds time) {
    b.inbox.clear();
    for (seconds passed{0}; passed < time; passed += seconds(1)) {
      SendSuperPacket();
      network.Pass(seconds(1));
    }
    return b.inbox.size();
  }
};

TEST_F(JoiningDeviceMtuTest, SegmentsAreJoinedOnceAWidePathIsFound) {
  BringUp();
  EXPECT_GT(StreamSuperPackets(seconds(2)), 44u) << "in its own segments at first";
  EXPECT_EQ(mtu(), 65475);
  b.inbox.clear();
  SendSuperPacket();
  network.DeliverAll();
  EXPECT_THAT(b.inbox, SizeIs(1));
}

TEST_F(JoiningDeviceMtuTest, WhoseSegmentsFitANarrowPathIsNotTold) {
  carries = 1440;
  BringUp();
  StreamSuperPackets(seconds(5));
  EXPECT_EQ(mtu(), 1440);
  EXPECT_EQ(StreamSuperPackets(seconds(1)), 43u) << "of 1400 bytes each";
  EXPECT_THAT(a.inbox, IsEmpty());
  Stream(seconds(1));
  EXPECT_THAT(a.inbox, SizeIs(1)) << "of one larger than the path";
}

TEST_F(DeviceMtuTest, AMoveBeginsAnew) {
  BringUp();
  Stream(seconds(2));
  ASSERT_EQ(mtu(), 65475);
  carries = 1440;
  b.endpoint.port = 999;
  network.SendText(b, a, "moved");
  network.DeliverAll();
  EXPECT_EQ(mtu(), 1420);
  EXPECT_EQ(Stream(seconds(5)), 5 * 60000u);
}

TEST_F(DeviceMtuTest, AnIdlePeerIsLeftAlone) {
  BringUp();
  Stream(seconds(2));
  network.Pass(seconds(30));
  network.log.clear();
  network.Pass(seconds(100));
  EXPECT_THAT(network.log, IsEmpty());
}

TEST_F(DeviceMtuTest, OneSideThatDoesNotAnswerKeepsTheUsualSize) {
  BringUp();
  PeerConfig config = network.ConfigOf(a);
  network.SetPeer(b, config);
  EXPECT_EQ(Stream(seconds(10)), 10 * 60000u);
  EXPECT_EQ(mtu(), 1420);
  EXPECT_EQ(b.device.drops()[DropReason::kMalformed], static_cast<uint64_t>(kProbesMax));
}

TEST_F(DeviceMtuTest, APersistentSessionKeepsItsMtuOverRenewals) {
  BringUp();
  Stream(seconds(300));
  EXPECT_EQ(mtu(), 65475);
  EXPECT_GE(network.CountLogged(MessageType::kInitiation), 3u);
}

}  // namespace
}  // namespace im::tunnel
