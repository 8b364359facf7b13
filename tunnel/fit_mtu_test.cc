#include "tunnel/fit_mtu.h"

#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/ip_build.h"
#include "base/segment_split.h"

namespace im::tunnel {
namespace {

using ByteVector = std::vector<uint8_t>;

const Endpoint kA4 = *Endpoint::Parse("10.0.0.1:1000");
const Endpoint kB4 = *Endpoint::Parse("10.0.0.2:2000");
const Endpoint kA6 = *Endpoint::Parse("[fd00::1]:1000");
const Endpoint kB6 = *Endpoint::Parse("[fd00::2]:2000");

class FitMtuTest : public ::testing::TestWithParam<bool> {
 protected:
  ByteVector Tcp(size_t payload, uint8_t flags = kTcpAck) const {
    ByteVector data(payload);
    for (size_t i = 0; i < payload; ++i) data[i] = static_cast<uint8_t>(i * 7);
    return BuildTcp(GetParam() ? kA6 : kA4, GetParam() ? kB6 : kB4,
                    {.sequence = 5, .flags = flags, .window = 100, .options = {}}, data);
  }
  ByteVector Udp(size_t payload) const {
    return BuildUdp(GetParam() ? kA6 : kA4, GetParam() ? kB6 : kB4, ByteVector(payload));
  }
  Packet& Add(const ByteVector& bytes) {
    Packet& packet = batch_.AppendCopy(bytes);
    return packet;
  }
  int headers() const { return (GetParam() ? 40 : 20) + 20; }
  PacketBatch batch_;
};

INSTANTIATE_TEST_SUITE_P(Families, FitMtuTest, ::testing::Bool());

TEST_P(FitMtuTest, WhatFitsStaysWhole) {
  for (const ByteVector& bytes : {Tcp(1000), Udp(1000), Tcp(1420 - headers()), Udp(1420 - headers() + 12)}) {
    Packet& packet = Add(bytes);
    const FitResult result = FitToMtu(packet, 1420);
    EXPECT_EQ(result.fit, Fit::kWhole);
    EXPECT_EQ(result.size, static_cast<int>(bytes.size()));
    EXPECT_EQ(packet.segment_size, 0);
  }
}

TEST_P(FitMtuTest, ALargeTcpSegmentIsCutAndNothingIsLost) {
  Packet& packet = Add(Tcp(60000));
  const FitResult result = FitToMtu(packet, 1420);
  EXPECT_EQ(result.fit, Fit::kCut);
  EXPECT_EQ(result.mtu, 1420);
  EXPECT_EQ(result.size, 60000 + headers());
  const SegmentSplitter segments(packet);
  ASSERT_TRUE(segments.valid());
  EXPECT_EQ(segments.size_max(), 1420u);
  ByteVector joined;
  for (size_t i = 0; i < segments.count(); ++i) {
    ByteVector segment(segments.size(i));
    segments.Write(i, segment);
    EXPECT_TRUE(TransportChecksumIsRight(segment, *ParseIp(segment)));
    joined.insert(joined.end(), segment.begin() + headers(), segment.end());
  }
  const ByteVector original = Tcp(60000);
  EXPECT_TRUE(std::equal(joined.begin(), joined.end(), original.begin() + headers(), original.end()));
}

TEST_P(FitMtuTest, ASuperPacketsSegmentsAreMadeSmaller) {
  Packet& packet = Add(Tcp(60000));
  packet.segment_size = 8900;
  EXPECT_EQ(FitToMtu(packet, 65475).fit, Fit::kWhole);
  EXPECT_EQ(packet.segment_size, 8900);
  const FitResult result = FitToMtu(packet, 1420);
  EXPECT_EQ(result.fit, Fit::kCut);
  EXPECT_EQ(result.size, 8900 + headers());
  EXPECT_EQ(packet.segment_size, 1420 - headers());
}

TEST_P(FitMtuTest, SegmentsAreJoinedAsFarAsAPacketMayGo) {
  Packet& packet = Add(Tcp(60000));
  packet.segment_size = 1380;
  JoinSegments(packet, 1420);
  EXPECT_EQ(packet.segment_size, std::max(1380, 1420 - headers()));
  JoinSegments(packet, 8920);
  EXPECT_EQ(packet.segment_size, 8920 - headers());
  JoinSegments(packet, 4000);
  EXPECT_EQ(packet.segment_size, 8920 - headers()) << "never less";
  JoinSegments(packet, 65475);
  EXPECT_EQ(packet.segment_size, 60000);
  const SegmentSplitter whole(packet);
  ASSERT_TRUE(whole.valid());
  ASSERT_EQ(whole.count(), 1u);
  ByteVector bytes(whole.size(0));
  whole.Write(0, bytes);
  EXPECT_EQ(bytes, Tcp(60000));
}

TEST_P(FitMtuTest, OnlySegmentsAreJoined) {
  Packet& datagrams = Add(Udp(30000));
  datagrams.segment_size = 1000;
  JoinSegments(datagrams, 65475);
  EXPECT_EQ(datagrams.segment_size, 1000);
  Packet& one = Add(Tcp(3000));
  JoinSegments(one, 65475);
  EXPECT_EQ(one.segment_size, 0);
}

TEST_P(FitMtuTest, DatagramsKeepTheirBounds) {
  Packet& packet = Add(Udp(3000));
  EXPECT_EQ(FitToMtu(packet, 1420).fit, Fit::kTooBig);
  EXPECT_EQ(FitToMtu(packet, 1420).mtu, 1420);
  Packet& train = Add(Udp(30000));
  train.segment_size = 3000;
  EXPECT_EQ(FitToMtu(train, 1420).fit, Fit::kTooBig);
  train.segment_size = 1000;
  EXPECT_EQ(FitToMtu(train, 1420).fit, Fit::kWhole);
}

TEST_P(FitMtuTest, ASynIsNotCut) {
  EXPECT_EQ(FitToMtu(Add(Tcp(3000, kTcpSyn)), 1420).fit, Fit::kTooBig);
}

TEST(FitMtuFamilyTest, WhoeverAllowsFragmentsGetsThem) {
  PacketBatch batch;
  ByteVector bytes = BuildUdp(kA4, kB4, ByteVector(3000));
  bytes[6] = 0;
  EXPECT_EQ(FitToMtu(batch.AppendCopy(bytes), 1420).fit, Fit::kWhole);
}

TEST(FitMtuFamilyTest, Ipv6IsNeverToldLessThanItsLeast) {
  PacketBatch batch;
  EXPECT_EQ(FitToMtu(batch.AppendCopy(BuildUdp(kA6, kB6, ByteVector(1200))), 516).fit, Fit::kWhole);
  EXPECT_EQ(FitToMtu(batch.AppendCopy(BuildUdp(kA6, kB6, ByteVector(1400))), 516).mtu, 1280);
  EXPECT_EQ(FitToMtu(batch.AppendCopy(BuildUdp(kA4, kB4, ByteVector(1200))), 516).mtu, 516);
}

TEST(FitMtuFamilyTest, NonsenseIsLeftAlone) {
  PacketBatch batch;
  const FitResult result = FitToMtu(batch.AppendCopy(ByteVector(3000, 0xff)), 1420);
  EXPECT_EQ(result.fit, Fit::kWhole);
}

}  // namespace
}  // namespace im::tunnel
