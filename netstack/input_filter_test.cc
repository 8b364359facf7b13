#include "netstack/input_filter.h"

#include <gtest/gtest.h>

#include "base/big_endian.h"
#include "base/checksum.h"
#include "base/ip_build.h"

namespace im::netstack {
namespace {

using Verdict = FilterResult::Verdict;

const IpAddress kOwn = IpAddress::V4(0x0a4d0001);
const IpAddress kOther = IpAddress::V4(0x0a4d0002);
const Endpoint kFrom{kOther, 1000};
const Endpoint kTo{kOwn, 80};

FilterResult Filter(std::vector<uint8_t> bytes, bool valid = false) {
  return FilterInput({.data = bytes.data(), .size = static_cast<uint32_t>(bytes.size()),
                      .checksum_valid = valid},
                     kOwn);
}

std::vector<uint8_t> Tcp(uint8_t flags, std::vector<uint8_t> options = {}) {
  return BuildTcp(kFrom, kTo, {.flags = flags, .window = 1000, .options = options});
}

// Recomputes the sums after a change by hand.
std::vector<uint8_t> Fix(std::vector<uint8_t> bytes) {
  SetIpv4HeaderChecksum(bytes);
  if (const auto view = ParseIp(bytes); view && (view->is_tcp() || view->is_udp()))
    SetTransportChecksum(bytes, *view);
  return bytes;
}

TEST(InputFilter, PassesOrdinaryPackets) {
  EXPECT_EQ(Filter(Tcp(kTcpSyn)).verdict, Verdict::kDeliver);
  EXPECT_EQ(Filter(Tcp(kTcpAck)).verdict, Verdict::kDeliver);
  EXPECT_EQ(Filter(Tcp(kTcpRst)).verdict, Verdict::kDeliver);
  EXPECT_EQ(Filter(Tcp(kTcpFin | kTcpAck)).verdict, Verdict::kDeliver);
  EXPECT_EQ(Filter(BuildUdp(kFrom, kTo, {})).verdict, Verdict::kDeliver);
  EXPECT_EQ(Filter(BuildEchoRequest(kOther, kOwn, 1, 1)).verdict, Verdict::kDeliver);
}

TEST(InputFilter, DropsWhatNoTcpSends) {
  EXPECT_EQ(Filter(Tcp(kTcpSyn | kTcpFin)).verdict, Verdict::kDrop);
  EXPECT_EQ(Filter(Tcp(kTcpSyn | kTcpRst)).verdict, Verdict::kDrop);
  EXPECT_EQ(Filter(Tcp(0)).verdict, Verdict::kDrop);
  EXPECT_EQ(Filter(Tcp(kTcpFin | kTcpPsh)).verdict, Verdict::kDrop);
}

TEST(InputFilter, DropsMalformedOptionsOfASyn) {
  EXPECT_EQ(Filter(Tcp(kTcpSyn, {2, 4, 5, 100})).verdict, Verdict::kDeliver);
  EXPECT_EQ(Filter(Tcp(kTcpSyn, {0, 9, 9, 9})).verdict, Verdict::kDeliver);
  EXPECT_EQ(Filter(Tcp(kTcpSyn, {2, 3, 5, 1})).verdict, Verdict::kDrop);
  EXPECT_EQ(Filter(Tcp(kTcpSyn, {1, 1, 2, 4})).verdict, Verdict::kDrop);
  EXPECT_EQ(Filter(Tcp(kTcpSyn, {1, 1, 1, 2})).verdict, Verdict::kDrop);
  EXPECT_EQ(Filter(Tcp(kTcpSyn, {9, 0, 1, 1})).verdict, Verdict::kDrop);
  EXPECT_EQ(Filter(Tcp(kTcpSyn, {9, 40, 1, 1})).verdict, Verdict::kDrop);
}

TEST(InputFilter, DropsForeignAndForgedAddresses) {
  const auto from = [](const IpAddress& source, const IpAddress& destination) {
    return Filter(BuildUdp({source, 1}, {destination, 2}, {}));
  };
  EXPECT_EQ(from(kOther, IpAddress::V4(0x0a4d0003)).reason, DropReason::kNoRoute);
  EXPECT_EQ(from(kOwn, kOwn).reason, DropReason::kSpoofed);
  for (const uint32_t source : {0x7f000001u, 0xe0000001u, 0xffffffffu, 0x00000000u, 0x00000001u}) {
    const FilterResult result = from(IpAddress::V4(source), kOwn);
    EXPECT_EQ(result.verdict, Verdict::kDrop) << source;
    EXPECT_EQ(result.reason, DropReason::kSpoofed) << source;
  }
}

TEST(InputFilter, DropsWrongSumsUnlessVouchedFor) {
  std::vector<uint8_t> bytes = Tcp(kTcpAck);
  bytes[21] ^= 1;
  EXPECT_EQ(Filter(bytes).verdict, Verdict::kDrop);
  EXPECT_EQ(Filter(bytes, true).verdict, Verdict::kDeliver);
  bytes = Tcp(kTcpAck);
  bytes[8] ^= 1;  // TTL: only the header's sum covers it
  EXPECT_EQ(Filter(bytes).verdict, Verdict::kDrop);
}

TEST(InputFilter, DropsTcpFragmentsAndInsaneOnes) {
  std::vector<uint8_t> bytes = Tcp(kTcpAck);
  bytes[6] = 0x20;  // more fragments
  EXPECT_EQ(Filter(Fix(bytes), true).verdict, Verdict::kDrop);

  const std::vector<uint8_t> udp = BuildUdp(kFrom, kTo, std::vector<uint8_t>(16));
  bytes = udp;
  bytes[6] = 0x20;  // 24 bytes: a multiple of eight
  EXPECT_EQ(Filter(Fix(bytes)).verdict, Verdict::kDeliver);
  StoreBig16(&bytes[6], 0x1fff);  // at 65,528
  EXPECT_EQ(Filter(Fix(bytes)).verdict, Verdict::kDrop);
  bytes = BuildUdp(kFrom, kTo, std::vector<uint8_t>(15));
  bytes[6] = 0x20;
  EXPECT_EQ(Filter(Fix(bytes)).verdict, Verdict::kDrop);
}

TEST(InputFilter, DropsIpOptions) {
  std::vector<uint8_t> bytes = BuildUdp(kFrom, kTo, {});
  bytes[0] = 0x46;
  bytes.insert(bytes.begin() + 20, {7, 4, 0, 0});  // record route
  StoreBig16(&bytes[2], static_cast<uint16_t>(bytes.size()));
  EXPECT_EQ(Filter(Fix(bytes), true).verdict, Verdict::kDrop);
}

TEST(InputFilter, DropsUdpWhoseLengthsDisagree) {
  std::vector<uint8_t> bytes = BuildUdp(kFrom, kTo, std::vector<uint8_t>(4));
  StoreBig16(&bytes[24], 10);
  EXPECT_EQ(Filter(bytes, true).verdict, Verdict::kDrop);
}

TEST(InputFilter, DropsOtherProtocolsAndIcmpThatHasNoUse) {
  std::vector<uint8_t> bytes = BuildEchoRequest(kOther, kOwn, 1, 1);
  bytes[20] = 5;  // redirect
  EXPECT_EQ(Filter(bytes, true).verdict, Verdict::kDrop);
  bytes = BuildUdp(kFrom, kTo, {});
  bytes[9] = 47;  // GRE
  EXPECT_EQ(Filter(Fix(bytes), true).verdict, Verdict::kDrop);
}

TEST(InputFilter, DropsIpv6ExtensionHeaders) {
  const IpAddress own = *IpAddress::Parse("fd00::1");
  const IpAddress other = *IpAddress::Parse("fd00::2");
  std::vector<uint8_t> bytes = BuildUdp({other, 1}, {own, 2}, {});
  const auto filter = [&] {
    return FilterInput({.data = bytes.data(), .size = static_cast<uint32_t>(bytes.size())}, own);
  };
  EXPECT_EQ(filter().verdict, Verdict::kDeliver);
  const uint8_t hop_by_hop[8] = {17, 0, 1, 4, 0, 0, 0, 0};
  bytes.insert(bytes.begin() + 40, hop_by_hop, hop_by_hop + 8);
  bytes[6] = 0;
  bytes[5] = static_cast<uint8_t>(bytes[5] + 8);
  ASSERT_TRUE(ParseIp(bytes).has_value());
  EXPECT_EQ(filter().verdict, Verdict::kDrop);
}

std::vector<uint8_t> IcmpError(uint8_t code, std::span<const uint8_t> about) {
  std::vector<uint8_t> bytes = BuildEchoRequest(kOther, kOwn, 0, 0, about);
  bytes[20] = 3;
  bytes[21] = code;
  return bytes;
}

TEST(InputFilter, ReadsUnreachables) {
  const std::vector<uint8_t> syn = BuildTcp(kTo, kFrom, {.sequence = 77, .flags = kTcpSyn});
  const std::vector<uint8_t> error =
      IcmpError(1, std::span<const uint8_t>(syn).first(28));
  const FilterResult result = Filter(error, true);
  ASSERT_EQ(result.verdict, Verdict::kIcmpError);
  const auto unreachable = ParseUnreachable(error, result.view);
  ASSERT_TRUE(unreachable.has_value());
  EXPECT_EQ(unreachable->flow, (FlowKey{kOwn, kOther, 80, 1000, kProtocolTcp}));
  EXPECT_EQ(unreachable->tcp_sequence, 77u);
  EXPECT_FALSE(unreachable->port);
}

TEST(InputFilter, RefusesUnreachablesThatSayNothing) {
  const std::vector<uint8_t> syn = BuildTcp(kTo, kFrom, {.sequence = 77, .flags = kTcpSyn});
  const auto parse = [](const std::vector<uint8_t>& error) {
    return ParseUnreachable(error, Filter(error, true).view);
  };
  for (size_t size = 0; size < 28; ++size)
    EXPECT_FALSE(parse(IcmpError(1, std::span<const uint8_t>(syn).first(size)))) << size;
  EXPECT_FALSE(parse(IcmpError(4, syn)));  // fragmentation needed
  // About a packet that is not ours.
  EXPECT_FALSE(parse(IcmpError(1, BuildTcp(kFrom, kTo, {.flags = kTcpSyn}))));
}

}  // namespace
}  // namespace im::netstack
