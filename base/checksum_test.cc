#include "base/checksum.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/big_endian.h"
#include "base/ip_build.h"
#include "base/random.h"

namespace im {
namespace {

// RFC 1071 1, word by word.
uint16_t SlowSum(std::span<const uint8_t> bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); i += 2) {
    sum += uint32_t{bytes[i]} << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<uint16_t>(sum);
}

// 0 and 0xffff are the same number in ones' complement; only a sum of no ones
// at all is 0.
uint16_t Canonical(uint16_t sum) { return sum == 0xffff ? 0 : sum; }

std::vector<uint8_t> Bytes(const std::string& text) { return {text.begin(), text.end()}; }

const Endpoint kA4 = *Endpoint::Parse("10.77.0.2:1234");
const Endpoint kB4 = *Endpoint::Parse("10.77.0.3:80");
const Endpoint kA6 = *Endpoint::Parse("[fd00::2]:1234");
const Endpoint kB6 = *Endpoint::Parse("[fd00::3]:80");

TEST(SumBytesTest, TheExampleOfRfc1071) {
  const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(FoldSum(SumBytes(bytes)), 0xddf2);
}

TEST(SumBytesTest, AgreesWithASlowModelAtEverySizeAndAlignment) {
  SeededRandom random(1);
  std::vector<uint8_t> buffer(400);
  random.Fill(buffer);
  for (size_t offset = 0; offset < 16; ++offset)
    for (size_t size = 0; size + offset <= 200; ++size) {
      const auto bytes = std::span(buffer).subspan(offset, size);
      ASSERT_EQ(Canonical(FoldSum(SumBytes(bytes))), Canonical(SlowSum(bytes)))
          << "offset " << offset << " size " << size;
    }
}

TEST(SumBytesTest, CarriesAreNotLostInLargeBuffersOfOnes) {
  for (const size_t size : {8u, 31u, 32u, 33u, 65535u, 65536u}) {
    const std::vector<uint8_t> ones(size, 0xff);
    EXPECT_EQ(Canonical(FoldSum(SumBytes(ones))), Canonical(SlowSum(ones))) << size;
  }
}

TEST(SumBytesTest, SumsOfPartsAddUp) {
  SeededRandom random(2);
  std::vector<uint8_t> bytes(1500);
  random.Fill(bytes);
  const auto all = std::span<const uint8_t>(bytes);
  for (size_t cut = 0; cut < bytes.size(); cut += 2)  // an even cut, as RFC 1071 wants
    ASSERT_EQ(Canonical(FoldSum(SumBytes(all.subspan(cut), SumBytes(all.first(cut))))),
              Canonical(SlowSum(all)));
}

TEST(FoldSumTest, FoldsTheWholeRange) {
  EXPECT_EQ(FoldSum(0), 0);
  EXPECT_EQ(FoldSum(0xffff), 0xffff);
  EXPECT_EQ(FoldSum(0x10000), 1);
  EXPECT_EQ(FoldSum(~uint64_t{0}), 0xffff);
  EXPECT_EQ(FoldSum(0x00010001fffffffe), 1);
}

TEST(ChecksumTest, AKnownIpv4Header) {
  // A header as captured, its checksum being b861.
  std::vector<uint8_t> header = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
                                 0x00, 0x00, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
  SetIpv4HeaderChecksum(header);
  EXPECT_EQ(LoadBig16(&header[10]), 0xb861);
}

TEST(ChecksumTest, TheHeaderChecksumCoversOptions) {
  std::vector<uint8_t> header(24, 0);
  header[0] = 0x46;
  header[20] = 0x01;
  SetIpv4HeaderChecksum(header);
  EXPECT_EQ(SlowSum(header), 0xffff);
}

TEST(ChecksumTest, EveryFlippedBitIsSeen) {
  for (const bool v6 : {false, true}) {
    for (std::vector<uint8_t> packet :
         {BuildUdp(v6 ? kA6 : kA4, v6 ? kB6 : kB4, Bytes("hello")),
          BuildTcp(v6 ? kA6 : kA4, v6 ? kB6 : kB4, {.sequence = 7}, Bytes("hello")),
          BuildEchoRequest(v6 ? kA6.address : kA4.address, v6 ? kB6.address : kB4.address, 1, 2,
                           Bytes("hello"))}) {
      const IpView view = *ParseIp(packet);
      ASSERT_TRUE(TransportChecksumIsRight(packet, view));
      for (size_t byte = view.transport_offset; byte < packet.size(); ++byte) {
        if (view.is_udp() && byte - view.transport_offset < 8) continue;  // its length, 0 checksum
        for (int bit = 0; bit < 8; ++bit) {
          packet[byte] ^= static_cast<uint8_t>(1 << bit);
          EXPECT_FALSE(TransportChecksumIsRight(packet, view)) << byte << "." << bit;
          packet[byte] ^= static_cast<uint8_t>(1 << bit);
        }
      }
    }
  }
}

TEST(ChecksumTest, AnAbsentUdpChecksumIsRightOverIpv4Only) {
  std::vector<uint8_t> v4 = BuildUdp(kA4, kB4, Bytes("x"));
  StoreBig16(&v4[26], 0);
  EXPECT_TRUE(TransportChecksumIsRight(v4, *ParseIp(v4)));
  std::vector<uint8_t> v6 = BuildUdp(kA6, kB6, Bytes("x"));
  StoreBig16(&v6[46], 0);
  EXPECT_FALSE(TransportChecksumIsRight(v6, *ParseIp(v6)));
}

TEST(ChecksumTest, AUdpSumOfZeroIsWrittenAsOnes) {
  // Some two payload bytes make the sum come out as 0.
  for (int value = 0; value <= 0xffff; ++value) {
    const uint8_t payload[] = {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
    const std::vector<uint8_t> packet = BuildUdp(kA4, kB4, payload);
    ASSERT_NE(LoadBig16(&packet[26]), 0);
  }
}

TEST(ChecksumTest, UdpCoversItsOwnLengthNotTheIpPackets) {
  std::vector<uint8_t> packet = BuildUdp(kA4, kB4, Bytes("hello"));
  packet.insert(packet.end(), {1, 2, 3, 4});
  StoreBig16(&packet[2], static_cast<uint16_t>(packet.size()));
  SetIpv4HeaderChecksum(packet);
  EXPECT_TRUE(TransportChecksumIsRight(packet, *ParseIp(packet)));
  SetTransportChecksum(packet, *ParseIp(packet));
  EXPECT_TRUE(TransportChecksumIsRight(packet, *ParseIp(packet)));
}

TEST(ChecksumTest, TrailingBytesBehindTheIpPacketDoNotCount) {
  std::vector<uint8_t> packet = BuildTcp(kA4, kB4, {}, Bytes("hello"));
  packet.resize(packet.size() + 11, 0x55);  // WireGuard pads
  EXPECT_TRUE(TransportChecksumIsRight(packet, *ParseIp(packet)));
}

TEST(ChecksumTest, FragmentsAreLeftAlone) {
  std::vector<uint8_t> packet = BuildUdp(kA4, kB4, Bytes("hello"));
  StoreBig16(&packet[6], 0x2000);  // more fragments
  StoreBig16(&packet[26], 0x1234);
  SetTransportChecksum(packet, *ParseIp(packet));
  EXPECT_EQ(LoadBig16(&packet[26]), 0x1234);
  EXPECT_TRUE(TransportChecksumIsRight(packet, *ParseIp(packet)));
}

TEST(CompleteChecksumTest, FinishesWhatTheKernelBegan) {
  for (const bool v6 : {false, true}) {
    const std::vector<uint8_t> whole =
        BuildTcp(v6 ? kA6 : kA4, v6 ? kB6 : kB4, {.flags = kTcpAck}, Bytes("payload"));
    PacketBatch batch = SinglePacket(whole);
    const IpView view = *ParseIp(whole);
    uint8_t* field = batch[0].data + view.transport_offset + 16;
    StoreBig16(field, FoldSum(PseudoHeaderSum(view.source, view.destination, kProtocolTcp,
                                              view.total_size - view.transport_offset)));
    batch[0].checksum_partial = true;
    CompleteChecksum(batch[0]);
    EXPECT_FALSE(batch[0].checksum_partial);
    EXPECT_EQ(std::vector<uint8_t>(batch[0].data, batch[0].data + batch[0].size), whole);
  }
}

TEST(CompleteChecksumTest, DoesNotTouchAPacketWithoutTheMark) {
  std::vector<uint8_t> packet = BuildTcp(kA4, kB4, {}, Bytes("x"));
  StoreBig16(&packet[36], 0xbeef);
  PacketBatch batch = SinglePacket(packet);
  CompleteChecksum(batch[0]);
  EXPECT_EQ(LoadBig16(batch[0].data + 36), 0xbeef);
}

TEST(CompleteChecksumTest, SurvivesBytesThatAreNoPacket) {
  PacketBatch batch = SinglePacket(Bytes("no packet at all"));
  batch[0].checksum_partial = true;
  CompleteChecksum(batch[0]);
  EXPECT_FALSE(batch[0].checksum_partial);
}

}  // namespace
}  // namespace im
