#include "base/segment_split.h"

#include <numeric>
#include <vector>

#include "base/big_endian.h"
#include "base/checksum.h"
#include "base/ip_build.h"
#include "base/packet.h"
#include "gtest/gtest.h"

namespace im {
namespace {

std::vector<uint8_t> CountingUp(size_t size) {
  std::vector<uint8_t> bytes(size);
  std::iota(bytes.begin(), bytes.end(), uint8_t{1});
  return bytes;
}

Endpoint At(const char* address, uint16_t port) { return {*IpAddress::Parse(address), port}; }

const Endpoint kSource4 = At("10.77.0.2", 40'000);
const Endpoint kDestination4 = At("10.77.0.3", 80);
const Endpoint kSource6 = At("fd77::2", 40'000);
const Endpoint kDestination6 = At("fd77::3", 80);

Packet ViewOf(std::vector<uint8_t>& bytes, uint16_t segment_size) {
  Packet packet;
  packet.data = bytes.data();
  packet.size = static_cast<uint32_t>(bytes.size());
  packet.segment_size = segment_size;
  packet.checksum_partial = true;
  return packet;
}

std::vector<std::vector<uint8_t>> Cut(const Packet& packet) {
  const SegmentSplitter splitter(packet);
  std::vector<std::vector<uint8_t>> out;
  for (size_t i = 0; i < splitter.count(); ++i) {
    std::vector<uint8_t> segment(splitter.size(i));
    splitter.Write(i, segment);
    out.push_back(std::move(segment));
  }
  return out;
}

// Sums 16-bit words one at a time: a second opinion to SumBytes.
uint16_t SlowIpv4HeaderSum(std::span<const uint8_t> header) {
  uint32_t sum = 0;
  for (size_t i = 0; i < header.size(); i += 2) sum += LoadBig16(&header[i]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

void ExpectTcpTrain(const Endpoint& source, const Endpoint& destination) {
  const std::vector<uint8_t> payload = CountingUp(1000 + 1000 + 300);
  const uint8_t options[] = {1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8};  // a timestamp
  TcpFields fields;
  fields.sequence = 0xffff'fe00;  // wraps within the train
  fields.acknowledgment = 77;
  fields.flags = kTcpAck | kTcpPsh | kTcpFin | 0x80;  // CWR
  fields.window = 512;
  fields.options = options;
  std::vector<uint8_t> bytes = BuildTcp(source, destination, fields, payload);
  if (source.address.is_v4()) StoreBig16(&bytes[4], 0xffff);  // identification wraps too
  const std::vector<std::vector<uint8_t>> segments = Cut(ViewOf(bytes, 1000));
  ASSERT_EQ(segments.size(), 3u);

  const uint8_t flags[] = {kTcpAck | 0x80, kTcpAck, kTcpAck | kTcpPsh | kTcpFin};
  size_t offset = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    SCOPED_TRACE(i);
    const std::vector<uint8_t>& segment = segments[i];
    const std::optional<IpView> view = ParseIp(segment);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->total_size, segment.size());
    EXPECT_EQ(view->payload_size(), i < 2 ? 1000 : 300);
    EXPECT_EQ(view->flow(), (FlowKey{source.address, destination.address, source.port,
                                     destination.port, kProtocolTcp}));
    EXPECT_EQ(view->tcp_sequence, 0xffff'fe00 + static_cast<uint32_t>(offset));
    EXPECT_EQ(view->tcp_acknowledgment, 77u);
    EXPECT_EQ(segment[view->transport_offset + 13], flags[i]);
    EXPECT_TRUE(std::equal(std::begin(options), std::end(options),
                           &segment[view->transport_offset + 20]));
    EXPECT_TRUE(TransportChecksumIsRight(segment, *view));
    EXPECT_TRUE(std::equal(segment.begin() + view->payload_offset, segment.end(),
                           payload.begin() + static_cast<long>(offset)));
    if (!view->v6) {
      EXPECT_EQ(LoadBig16(&segment[4]), static_cast<uint16_t>(0xffff + i));
      EXPECT_EQ(SlowIpv4HeaderSum(std::span(segment).first(20)), 0xffff);
    }
    offset += view->payload_size();
  }
  EXPECT_EQ(offset, payload.size());
}

TEST(SegmentSplitTest, TcpOverIpv4) { ExpectTcpTrain(kSource4, kDestination4); }
TEST(SegmentSplitTest, TcpOverIpv6) { ExpectTcpTrain(kSource6, kDestination6); }

void ExpectUdpTrain(const Endpoint& source, const Endpoint& destination) {
  const std::vector<uint8_t> payload = CountingUp(5 * 100 + 1);
  std::vector<uint8_t> bytes = BuildUdp(source, destination, payload);
  const std::vector<std::vector<uint8_t>> segments = Cut(ViewOf(bytes, 100));
  ASSERT_EQ(segments.size(), 6u);
  size_t offset = 0;
  for (size_t i = 0; i < segments.size(); ++i) {
    SCOPED_TRACE(i);
    const std::optional<IpView> view = ParseIp(segments[i]);
    ASSERT_TRUE(view);
    EXPECT_EQ(view->payload_size(), i < 5 ? 100 : 1);
    EXPECT_EQ(LoadBig16(&segments[i][view->transport_offset + 4u]), 8 + view->payload_size());
    EXPECT_TRUE(TransportChecksumIsRight(segments[i], *view));
    EXPECT_EQ(segments[i][view->payload_offset], payload[offset]);
    offset += view->payload_size();
  }
}

TEST(SegmentSplitTest, UdpOverIpv4) { ExpectUdpTrain(kSource4, kDestination4); }
TEST(SegmentSplitTest, UdpOverIpv6) { ExpectUdpTrain(kSource6, kDestination6); }

TEST(SegmentSplitTest, AnExactMultipleHasNoEmptyTail) {
  std::vector<uint8_t> bytes = BuildUdp(kSource4, kDestination4, CountingUp(300));
  EXPECT_EQ(Cut(ViewOf(bytes, 100)).size(), 3u);
}

TEST(SegmentSplitTest, APayloadWithinOneSegmentStaysWhole) {
  const TcpFields fields{.sequence = 5, .flags = kTcpAck | kTcpPsh};
  std::vector<uint8_t> bytes = BuildTcp(kSource4, kDestination4, fields, CountingUp(10));
  const std::vector<uint8_t> whole = bytes;
  const auto segments = Cut(ViewOf(bytes, 1000));
  ASSERT_EQ(segments.size(), 1u);
  EXPECT_EQ(segments[0], whole);
}

TEST(SegmentSplitTest, APlainPacketIsCopied) {
  std::vector<uint8_t> bytes = CountingUp(33);  // not even IP
  Packet packet = ViewOf(bytes, 0);
  packet.checksum_partial = false;
  const auto segments = Cut(packet);
  ASSERT_EQ(segments.size(), 1u);
  EXPECT_EQ(segments[0], bytes);
}

TEST(SegmentSplitTest, APartialChecksumIsCompleted) {
  for (const bool v6 : {false, true}) {
    std::vector<uint8_t> bytes = BuildUdp(v6 ? kSource6 : kSource4,
                                          v6 ? kDestination6 : kDestination4, CountingUp(77));
    const std::vector<uint8_t> whole = bytes;
    const size_t checksum_offset = (v6 ? 40 : 20) + 6;
    StoreBig16(&bytes[checksum_offset], 0x1234);
    const auto segments = Cut(ViewOf(bytes, 0));
    ASSERT_EQ(segments.size(), 1u);
    EXPECT_EQ(segments[0], whole);
  }
}

TEST(SegmentSplitTest, AnEmptyTcpSegmentWithPartialChecksum) {
  std::vector<uint8_t> bytes = BuildTcp(kSource4, kDestination4, {.flags = kTcpSyn});
  const std::vector<uint8_t> whole = bytes;
  const auto segments = Cut(ViewOf(bytes, 0));
  ASSERT_EQ(segments.size(), 1u);
  EXPECT_EQ(segments[0], whole);
}

TEST(SegmentSplitTest, WhatCannotBeCutIsInvalid) {
  std::vector<uint8_t> echo =
      BuildEchoRequest(kSource4.address, kDestination4.address, 1, 1, CountingUp(200));
  EXPECT_FALSE(SegmentSplitter(ViewOf(echo, 100)).valid());

  std::vector<uint8_t> fragment = BuildUdp(kSource4, kDestination4, CountingUp(200));
  fragment[6] = 0x20;  // more fragments
  EXPECT_FALSE(SegmentSplitter(ViewOf(fragment, 100)).valid());

  std::vector<uint8_t> truncated = BuildTcp(kSource4, kDestination4, {.flags = kTcpAck});
  truncated.resize(30);
  EXPECT_FALSE(SegmentSplitter(ViewOf(truncated, 100)).valid());

  std::vector<uint8_t> empty;
  EXPECT_FALSE(SegmentSplitter(ViewOf(empty, 0)).valid());
  EXPECT_EQ(SegmentCount(ViewOf(empty, 0)), 0u);
}

}  // namespace
}  // namespace im
