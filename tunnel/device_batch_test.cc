// Batches: super-packets, runs, many peers at once.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/checksum.h"
#include "tunnel/device.h"
#include "tunnel/ecn.h"
#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

using std::chrono::seconds;
using ::testing::ElementsAre;

class DeviceBatchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    network.Introduce(a, b);
    network.Connect(a, b);
    network.DeliverAll();
    network.log.clear();
  }
  // A TCP packet with `payload` bytes that stands for segments of `mss`.
  ByteVector TcpPacket(size_t payload, uint32_t sequence = 1) {
    ByteVector data(payload);
    for (size_t i = 0; i < payload; ++i) data[i] = static_cast<uint8_t>(i * 31 + i / 251);
    return BuildTcp({a.address, 1000}, {b.address, 2000},
                    {.sequence = sequence, .acknowledgment = 7, .flags = kTcpAck, .window = 5},
                    data);
  }
  // Hands a's runs to b as they are, and returns what comes out whole.
  PacketBatch Carry() {
    DatagramBatch received;
    for (const DatagramRun& run : a.out.datagrams.runs()) {
      DatagramRun copy = run;
      copy.peer = a.endpoint;
      copy.bytes = received.Allocate(run.bytes.size());
      std::copy(run.bytes.begin(), run.bytes.end(), copy.bytes.begin());
      received.Add(copy);
    }
    a.out.datagrams.Clear();
    b.device.OnDatagrams(received, network.clock.Now(), b.out);
    return std::move(b.out.inside);
  }

  TestNetwork network;
  Node& a = network.Add();
  Node& b = network.Add();
};

TEST_F(DeviceBatchTest, ASuperPacketIsOneRunAndComesOutWhole) {
  const ByteVector original = TcpPacket(1380 * 45 - 300);
  PacketBatch batch;
  batch.AppendCopy(original).segment_size = 1380;
  a.device.OnInsidePackets(batch, network.clock.Now(), a.out);
  ASSERT_EQ(a.out.datagrams.runs().size(), 1u);
  const DatagramRun& run = a.out.datagrams.runs()[0];
  EXPECT_EQ(run.peer, b.endpoint);
  EXPECT_EQ(run.segment_size, 1420u + kTransportOverhead);
  EXPECT_EQ((run.bytes.size() + run.segment_size - 1) / run.segment_size, 45u);

  const PacketBatch inside = Carry();
  ASSERT_EQ(inside.size(), 1u);
  EXPECT_EQ(inside[0].segment_size, 1380);
  ASSERT_EQ(inside[0].size, original.size());
  EXPECT_TRUE(std::equal(original.begin() + 40, original.end(), inside[0].data + 40));
}

TEST_F(DeviceBatchTest, SuperPacketsWaitForASessionToo) {
  network.Pass(seconds(200));
  PacketBatch batch;
  Packet& packet = batch.AppendCopy(TcpPacket(1380 * 10));
  packet.segment_size = 1380;
  a.device.OnInsidePackets(batch, network.clock.Now(), a.out);
  network.Collect(a);
  network.DeliverAll();
  EXPECT_EQ(b.inbox.size(), 10u);
  for (const ByteVector& segment : b.inbox) {
    const auto view = ParseIp(segment);
    ASSERT_TRUE(view);
    EXPECT_TRUE(TransportChecksumIsRight(segment, *view));
  }
}

TEST_F(DeviceBatchTest, APartialChecksumIsCompletedBeforeItLeaves) {
  PacketBatch batch;
  Packet& packet = batch.AppendCopy(TcpPacket(100));
  const auto view = ParseIp(packet.bytes());
  const uint16_t sum = FoldSum(PseudoHeaderSum(view->source, view->destination, kProtocolTcp,
                                               view->total_size - view->transport_offset));
  packet.data[36] = static_cast<uint8_t>(sum >> 8);
  packet.data[37] = static_cast<uint8_t>(sum);
  packet.checksum_partial = true;
  a.device.OnInsidePackets(batch, network.clock.Now(), a.out);
  network.Collect(a);
  network.DeliverAll();
  EXPECT_THAT(b.inbox, ElementsAre(TcpPacket(100)));
}

TEST_F(DeviceBatchTest, PaddingStopsAtTheMtu) {
  for (auto [size, padded] : {std::pair(28, 32), {32, 32}, {1400, 1408}, {1410, 1420},
                              {1420, 1420}, {1421, 1421}, {9000, 9000}}) {
    network.log.clear();
    network.Send(a, TextPacket(a.address, b.address, std::string(size - 28, 'x')));
    ASSERT_EQ(network.log.size(), 1u);
    EXPECT_EQ(network.log[0].bytes.size(), padded + kTransportOverhead) << size;
  }
  a.device.SetMtu(8920);
  network.Send(a, TextPacket(a.address, b.address, std::string(1421 - 28, 'x')));
  EXPECT_EQ(network.log.back().bytes.size(), 1424 + kTransportOverhead);
  network.DeliverAll();
  EXPECT_EQ(b.inbox.size(), 8u);
}

TEST_F(DeviceBatchTest, WhatFitsNoDatagramIsTooBig) {
  const size_t most = kGsoBytesMax - kTransportOverhead;
  network.Send(a, TextPacket(a.address, b.address, std::string(most - 28, 'x')));
  network.DeliverAll();
  EXPECT_EQ(b.inbox.size(), 1u);
  network.Send(a, TextPacket(a.address, b.address, std::string(most - 27, 'x')));
  EXPECT_EQ(a.device.drops()[DropReason::kTooBig], 1u);
  EXPECT_TRUE(network.wire.empty());
}

TEST_F(DeviceBatchTest, ABatchIsSortedByPeerAndEachKeepsItsOrder) {
  std::vector<Node*> others;
  for (int i = 0; i < 3; ++i) {
    others.push_back(&network.Add());
    network.Introduce(a, *others.back());
    network.Connect(a, *others.back());
  }
  network.DeliverAll();
  network.log.clear();
  PacketBatch batch;
  for (int i = 0; i < 30; ++i) {
    batch.AppendCopy(TextPacket(a.address, others[i % 3]->address, std::to_string(i)));
    batch.AppendCopy(TextPacket(a.address, Address("10.99.0.1"), "nowhere"));
  }
  a.device.OnInsidePackets(batch, network.clock.Now(), a.out);
  EXPECT_EQ(a.out.datagrams.runs().size(), 3u);
  network.Collect(a);
  network.DeliverAll();
  for (int node = 0; node < 3; ++node) {
    std::vector<std::string> expected;
    for (int i = node; i < 30; i += 3) expected.push_back(std::to_string(i));
    EXPECT_EQ(others[node]->texts(), expected);
  }
  EXPECT_EQ(a.device.drops()[DropReason::kNoRoute], 30u);
}

TEST_F(DeviceBatchTest, RunsOfSeveralPeersMixedWithHandshakesAreTakenInOneBatch) {
  Node& c = network.Add();
  network.Introduce(c, b);
  DatagramBatch received;
  const auto take = [&](Node& from) {
    for (const DatagramRun& run : from.out.datagrams.runs()) {
      DatagramRun copy = run;
      copy.peer = from.endpoint;
      copy.bytes = received.Allocate(run.bytes.size());
      std::copy(run.bytes.begin(), run.bytes.end(), copy.bytes.begin());
      received.Add(copy);
    }
    from.out.datagrams.Clear();
  };
  const auto send = [&](Node& from, const char* text) {
    PacketBatch batch;
    batch.AppendCopy(TextPacket(from.address, b.address, text));
    from.device.OnInsidePackets(batch, network.clock.Now(), from.out);
    take(from);
  };
  send(a, "one");
  send(c, "staged");  // an initiation
  send(a, "two");
  received.AddCopy(a.endpoint, ByteVector(7, 9));
  send(a, "three");
  DatagramRun empty;
  received.Add(empty);
  b.device.OnDatagrams(received, network.clock.Now(), b.out);
  network.Collect(b);
  EXPECT_THAT(b.texts(), ElementsAre("one", "two", "three"));
  EXPECT_EQ(b.device.drops()[DropReason::kMalformed], 1u);
  EXPECT_EQ(b.device.drops().total(), 1u);
  network.DeliverAll();
  EXPECT_THAT(b.texts(), ElementsAre("one", "two", "three", "staged"));
}

TEST_F(DeviceBatchTest, AMalformedSuperPacketIsDropped) {
  PacketBatch batch;
  batch.AppendCopy(BuildEchoRequest(a.address, b.address, 1, 1)).segment_size = 10;
  a.device.OnInsidePackets(batch, network.clock.Now(), a.out);
  EXPECT_EQ(a.device.drops()[DropReason::kMalformed], 1u);
  EXPECT_TRUE(a.out.datagrams.empty());
}

TEST_F(DeviceBatchTest, EcnGoesOutAndMarksComeIn) {
  ByteVector packet = TextPacket(a.address, b.address, "x");
  packet[1] = 2;  // ECT(0)
  SetIpv4HeaderChecksum(packet);
  network.Send(a, packet);
  ASSERT_EQ(network.wire.size(), 1u);
  EXPECT_EQ(network.wire.front().ecn, 2);
  network.wire.front().ecn = kEcnCongested;
  network.DeliverAll();
  ASSERT_EQ(b.inbox.size(), 1u);
  EXPECT_EQ(EcnOf(b.inbox[0]), kEcnCongested);
}

TEST_F(DeviceBatchTest, AnEmptyBatchIsNothing) {
  PacketBatch batch;
  a.device.OnInsidePackets(batch, network.clock.Now(), a.out);
  a.device.SendTo(b.key(), batch, network.clock.Now(), a.out);
  DatagramBatch datagrams;
  a.device.OnDatagrams(datagrams, network.clock.Now(), a.out);
  EXPECT_TRUE(a.out.datagrams.empty());
  EXPECT_TRUE(a.out.inside.empty());
}

}  // namespace
}  // namespace im::tunnel
