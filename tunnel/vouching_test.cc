#include "tunnel/vouching.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/ip_build.h"
#include "tunnel/device.h"
#include "tunnel/test_network.h"

namespace im::tunnel {
namespace {

using ::testing::SizeIs;

class VouchingTest : public ::testing::Test {
 protected:
  void BringUp(bool ours) {
    for (auto [node, peer] : {std::pair(&a, &b), std::pair(&b, &a)}) {
      PeerConfig config = network.ConfigOf(*peer);
      config.probe_mtu = ours;
      network.SetPeer(*node, config);
    }
    network.Connect(a, b);
    network.DeliverAll();
  }
  ByteVector Segment(uint32_t number) const {
    return BuildTcp({a.address, 1000}, {b.address, 2000},
                    {.sequence = 1 + number * 1000, .flags = kTcpAck, .window = 1000, .options = {}},
                    ByteVector(1000, static_cast<uint8_t>(number)));
  }
  static ByteVector Damaged(ByteVector packet, size_t at) {
    packet[at] ^= 0x10;
    return packet;
  }
  // Sends the packets in one batch, and returns what comes out of b, whole.
  PacketBatch Carry(const std::vector<ByteVector>& packets, bool valid = false) {
    PacketBatch batch;
    for (const ByteVector& packet : packets) batch.AppendCopy(packet).checksum_valid = valid;
    a.device.OnInsidePackets(batch, network.clock.Now(), a.out);
    DatagramBatch received;
    for (const DatagramRun& run : a.out.datagrams.runs()) {
      for (size_t at = 0; at < run.bytes.size(); at += run.segment_size) {
        received.AddCopy(a.endpoint, run.bytes.subspan(at, std::min<size_t>(
                                         run.segment_size, run.bytes.size() - at)));
      }
    }
    a.out.datagrams.Clear();
    b.device.OnDatagrams(received, network.clock.Now(), b.out);
    return std::move(b.out.inside);
  }
  static ByteVector BytesOf(const Packet& packet) {
    return {packet.bytes().begin(), packet.bytes().end()};
  }

  TestNetwork network;
  Node& a = network.Add();
  Node& b = network.Add();
};

TEST_F(VouchingTest, BetweenOurOwnEndsAChecksumIsKnownToBeRight) {
  BringUp(/*ours=*/true);
  const PacketBatch one = Carry({Segment(0)});
  ASSERT_EQ(one.size(), 1u);
  EXPECT_TRUE(one[0].checksum_valid);
  const PacketBatch merged = Carry({Segment(1), Segment(2), Segment(3)});
  ASSERT_EQ(merged.size(), 1u);
  EXPECT_EQ(merged[0].segment_size, 1000);
}

TEST_F(VouchingTest, OfAForeignPeerNothingIsKnown) {
  BringUp(/*ours=*/false);
  const PacketBatch one = Carry({Segment(0)});
  ASSERT_EQ(one.size(), 1u);
  EXPECT_FALSE(one[0].checksum_valid);
  EXPECT_EQ(Carry({Segment(1), Damaged(Segment(2), 500), Segment(3)}).size(), 3u);
  // Nor does it get envelopes.
  network.log.clear();
  network.Send(a, Damaged(Segment(4), 500));
  ASSERT_THAT(network.log, SizeIs(1));
  EXPECT_EQ(network.log[0].bytes.size(), 1040u + kTransportOverhead);
  EXPECT_EQ(b.device.drops().total(), 0u);
}

TEST_F(VouchingTest, AWrongChecksumStaysWrongAndIsSeen) {
  BringUp(/*ours=*/true);
  // Of the payload, of the TCP header, of the IP header (TTL).
  for (const size_t at : {size_t{500}, size_t{34}, size_t{8}}) {
    const ByteVector wrong = Damaged(Segment(1), at);
    const PacketBatch inside = Carry({Segment(0), wrong, Segment(2), Segment(3)});
    ASSERT_EQ(inside.size(), 3u) << at;
    EXPECT_EQ(BytesOf(inside[1]), wrong);
    EXPECT_FALSE(inside[1].checksum_valid);
    EXPECT_EQ(inside[2].segment_size, 1000) << "the others are trusted";
  }
  EXPECT_EQ(b.device.drops().total(), 0u);
}

TEST_F(VouchingTest, WhatIsKnownToBeRightIsNotLookedAtAgain) {
  BringUp(/*ours=*/true);
  // The mark alone decides: whoever set it has looked.
  EXPECT_EQ(Carry({Segment(0), Damaged(Segment(1), 500)}, /*valid=*/true).size(), 1u);
}

TEST_F(VouchingTest, AFragmentIsNotTrusted) {
  BringUp(/*ours=*/true);
  ByteVector fragment = Segment(0);
  fragment[6] = 0x20;  // more fragments
  SetIpv4HeaderChecksum(fragment);
  const PacketBatch inside = Carry({fragment});
  ASSERT_EQ(inside.size(), 1u);
  EXPECT_EQ(BytesOf(inside[0]), fragment);
  EXPECT_FALSE(inside[0].checksum_valid);
}

TEST_F(VouchingTest, TheSourceOfWhatIsInAnEnvelopeIsChecked) {
  BringUp(/*ours=*/true);
  ByteVector packet = BuildTcp({Address("10.77.9.9"), 1000}, {b.address, 2000},
                               {.sequence = 1, .flags = kTcpAck, .window = 1, .options = {}},
                               ByteVector(100, 'x'));
  EXPECT_TRUE(Carry({Damaged(packet, 100)}).empty());
  EXPECT_EQ(b.device.drops()[DropReason::kSourceNotAllowed], 1u);
}

TEST_F(VouchingTest, AnEnvelopeThatFitsNoDatagramIsTooBig) {
  BringUp(/*ours=*/true);
  const size_t most = kGsoBytesMax - kTransportOverhead;
  const ByteVector packet = TextPacket(a.address, b.address, std::string(most - 28, 'x'));
  EXPECT_EQ(Carry({packet}).size(), 1u);
  EXPECT_EQ(Carry({Damaged(packet, 500)}).size(), 0u);
  EXPECT_EQ(a.device.drops()[DropReason::kTooBig], 1u);
}

TEST(EnvelopeTest, AnythingElseIsNone) {
  for (const ByteVector& bytes :
       {ByteVector{}, ByteVector{0}, ByteVector{0, 3, 0, 0}, ByteVector{0, 3, 0, 1, 5},
        ByteVector{0, 1, 0, 0, 5}, ByteVector{1, 3, 0, 0, 5}}) {
    ByteVector copy = bytes;
    EXPECT_FALSE(OpenEnvelope(copy));
  }
  ByteVector good = {0, 3, 0, 0, 5};
  ASSERT_TRUE(OpenEnvelope(good));
  EXPECT_EQ(OpenEnvelope(good)->front(), 5);
}

}  // namespace
}  // namespace im::tunnel
