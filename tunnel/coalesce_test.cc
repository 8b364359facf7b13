#include "tunnel/coalesce.h"

#include <algorithm>
#include <deque>
#include <numeric>
#include <vector>

#include "base/big_endian.h"
#include "base/checksum.h"
#include "base/ip_build.h"
#include "base/ip_header.h"
#include "base/random.h"
#include "base/segment_split.h"
#include "gtest/gtest.h"

namespace im::tunnel {
namespace {

using ByteVector = std::vector<uint8_t>;

ByteVector Filled(size_t size, uint8_t value = 0x5a) { return ByteVector(size, value); }

struct Flow {
  Endpoint source;
  Endpoint destination;
};

Flow MakeFlow(bool v6, uint16_t source_port = 40'000) {
  if (v6) {
    return {{*IpAddress::Parse("fd77::2"), source_port}, {*IpAddress::Parse("fd77::3"), 80}};
  }
  return {{IpAddress::V4(0x0a4d0002), source_port}, {IpAddress::V4(0x0a4d0003), 80}};
}

ByteVector Tcp(const Flow& flow, uint32_t sequence, size_t size, uint8_t flags = kTcpAck) {
  TcpFields fields;
  fields.sequence = sequence;
  fields.acknowledgment = 1;
  fields.flags = flags;
  fields.window = 100;
  const uint8_t options[] = {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};
  fields.options = options;
  return BuildTcp(flow.source, flow.destination, fields, Filled(size));
}

// Rewrites one byte and mends both checksums.
ByteVector With(ByteVector packet, size_t offset, uint8_t value) {
  packet[offset] = value;
  if (packet[0] >> 4 == 4) SetIpv4HeaderChecksum(packet);
  if (const std::optional<IpView> view = ParseIp(packet)) SetTransportChecksum(packet, *view);
  return packet;
}

std::vector<size_t> Sizes(const PacketBatch& batch) {
  std::vector<size_t> sizes;
  for (const Packet& packet : batch) sizes.push_back(packet.size);
  return sizes;
}

PacketBatch Coalesced(const std::vector<ByteVector>& packets, bool trusted = false) {
  Coalescer coalescer;
  for (const ByteVector& packet : packets) coalescer.Add(packet, trusted);
  PacketBatch out;
  coalescer.Flush(out);
  return out;
}

// The packets that a foreign end would see.
std::vector<ByteVector> Split(const PacketBatch& batch) {
  std::vector<ByteVector> out;
  for (const Packet& packet : batch) {
    const SegmentSplitter splitter(packet);
    EXPECT_TRUE(splitter.valid());
    for (size_t i = 0; i < splitter.count(); ++i) {
      out.emplace_back(splitter.size(i));
      splitter.Write(i, out.back());
    }
  }
  return out;
}

class CoalesceTest : public testing::TestWithParam<bool> {
 protected:
  bool v6() const { return GetParam(); }
  Flow flow() const { return MakeFlow(v6()); }
  size_t ip_size() const { return v6() ? 40 : 20; }
  size_t tcp_headers() const { return ip_size() + 32; }
  size_t udp_headers() const { return ip_size() + 8; }
};

INSTANTIATE_TEST_SUITE_P(Families, CoalesceTest, testing::Bool(),
                         [](const auto& param_info) { return param_info.param ? "Ipv6" : "Ipv4"; });

TEST_P(CoalesceTest, TcpSegmentsInOrderAreMerged) {
  const PacketBatch out = Coalesced({Tcp(flow(), 1000, 500), Tcp(flow(), 1500, 500),
                                     Tcp(flow(), 2000, 100, kTcpAck | kTcpPsh)});
  ASSERT_EQ(out.size(), 1u);
  const Packet& packet = out[0];
  EXPECT_EQ(packet.size, tcp_headers() + 1100);
  EXPECT_EQ(packet.segment_size, 500);
  EXPECT_TRUE(packet.checksum_partial);
  EXPECT_TRUE(packet.checksum_valid);
  const std::optional<IpView> view = ParseIp(packet.bytes());
  ASSERT_TRUE(view);
  EXPECT_EQ(view->total_size, packet.size);
  EXPECT_EQ(view->tcp_sequence, 1000u);
  EXPECT_EQ(view->tcp_flags, kTcpAck | kTcpPsh);
  // The field holds the pseudo-header's sum for the whole.
  const uint32_t transport_size = packet.size - view->transport_offset;
  EXPECT_EQ(LoadBig16(packet.data + view->transport_offset + 16),
            FoldSum(PseudoHeaderSum(view->source, view->destination, kProtocolTcp,
                                    transport_size)));
}

TEST_P(CoalesceTest, UdpDatagramsOfEqualSizeAreMergedAndAShorterOneEnds) {
  const Flow f = flow();
  const PacketBatch out = Coalesced({BuildUdp(f.source, f.destination, Filled(200)),
                                     BuildUdp(f.source, f.destination, Filled(200)),
                                     BuildUdp(f.source, f.destination, Filled(10)),
                                     BuildUdp(f.source, f.destination, Filled(10))});
  EXPECT_EQ(Sizes(out), (std::vector<size_t>{udp_headers() + 410, udp_headers() + 10}));
  EXPECT_EQ(out[0].segment_size, 200);
  EXPECT_EQ(LoadBig16(out[0].data + ip_size() + 4), 418);
  EXPECT_EQ(out[1].segment_size, 0);
  EXPECT_FALSE(out[1].checksum_partial);
}

TEST_P(CoalesceTest, NothingIsMergedPastPshOrAShortSegment) {
  EXPECT_EQ(Coalesced({Tcp(flow(), 0, 100, kTcpAck | kTcpPsh), Tcp(flow(), 100, 100)}).size(), 2u);
  EXPECT_EQ(Coalesced({Tcp(flow(), 0, 100), Tcp(flow(), 100, 50), Tcp(flow(), 150, 50)}).size(),
            2u);
}

TEST_P(CoalesceTest, ALongerSegmentOpensATrainOfItsOwn) {
  const PacketBatch out =
      Coalesced({Tcp(flow(), 0, 100), Tcp(flow(), 100, 200), Tcp(flow(), 300, 200)});
  EXPECT_EQ(Sizes(out), (std::vector<size_t>{tcp_headers() + 100, tcp_headers() + 400}));
}

TEST_P(CoalesceTest, AGapAReorderOrADuplicateIsNotMerged) {
  for (const uint32_t sequence : {101u, 99u, 0u, 200u}) {
    EXPECT_EQ(Coalesced({Tcp(flow(), 0, 100), Tcp(flow(), sequence, 100)}).size(), 2u) << sequence;
  }
}

TEST_P(CoalesceTest, SpecialFlagsStayAlone) {
  for (const uint8_t flags : {0x00, 0x11, 0x12, 0x14, 0x30, 0x90}) {
    EXPECT_EQ(Coalesced({Tcp(flow(), 0, 100), Tcp(flow(), 100, 100, flags)}).size(), 2u)
        << int{flags};
    EXPECT_EQ(Coalesced({Tcp(flow(), 0, 100, flags), Tcp(flow(), 100, 100)}).size(), 2u)
        << int{flags};
  }
}

TEST_P(CoalesceTest, EmptySegmentsStayAloneAndEndTheTrain) {
  EXPECT_EQ(Coalesced({Tcp(flow(), 0, 0), Tcp(flow(), 0, 0)}).size(), 2u);
  EXPECT_EQ(Coalesced({Tcp(flow(), 0, 100), Tcp(flow(), 100, 0), Tcp(flow(), 100, 100)}).size(),
            3u);
}

TEST_P(CoalesceTest, DifferingFieldsAreNotMerged) {
  struct Case {
    const char* what;
    size_t offset;
    uint8_t value;
  };
  const size_t tcp = ip_size();
  std::vector<Case> cases = {{"acknowledgment", tcp + 11, 9}, {"ECE", tcp + 13, kTcpAck | 0x40},
                             {"window", tcp + 15, 9},         {"option", tcp + 27, 9},
                             {"urgent pointer", tcp + 19, 9}, {"source port", tcp + 1, 9}};
  if (v6()) {
    cases.push_back({"traffic class", 1, 0x30});
    cases.push_back({"flow label", 3, 9});
    cases.push_back({"hop limit", 7, 9});
    cases.push_back({"source", 23, 9});
  } else {
    cases.push_back({"ECN", 1, 3});
    cases.push_back({"TTL", 8, 9});
    cases.push_back({"source", 15, 9});
  }
  for (const Case& c : cases) {
    const ByteVector changed = With(Tcp(flow(), 100, 100), c.offset, c.value);
    EXPECT_EQ(Coalesced({Tcp(flow(), 0, 100), changed}).size(), 2u) << c.what;
    // The same change on both does not matter.
    const ByteVector first = With(Tcp(flow(), 0, 100), c.offset, c.value);
    EXPECT_EQ(Coalesced({first, changed}).size(), 1u) << c.what;
  }
}

TEST(CoalesceIpv4Test, WithoutDfTheIdentificationMustCountUp) {
  const Flow f = MakeFlow(false);
  const auto numbered = [&](uint32_t sequence, uint8_t df, uint8_t id) {
    return With(With(Tcp(f, sequence, 100), 6, df), 5, id);
  };
  EXPECT_EQ(Coalesced({numbered(0, 0, 7), numbered(100, 0, 8)}).size(), 1u);
  EXPECT_EQ(Coalesced({numbered(0, 0, 7), numbered(100, 0, 7)}).size(), 2u);
  EXPECT_EQ(Coalesced({numbered(0, 0x40, 7), numbered(100, 0x40, 7)}).size(), 1u);
  EXPECT_EQ(Coalesced({numbered(0, 0x40, 7), numbered(100, 0, 8)}).size(), 2u);  // DF differs
}

TEST(CoalesceIpv4Test, FragmentsAndOptionsStayAloneAndAreNotOvertaken) {
  const Flow f = MakeFlow(false);
  ByteVector fragment = Tcp(f, 100, 100);
  fragment[6] = 0x20;
  SetIpv4HeaderChecksum(fragment);
  const PacketBatch out = Coalesced({Tcp(f, 0, 100), fragment, Tcp(f, 100, 100)});
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[1].data[6], 0x20);
}

TEST_P(CoalesceTest, AWrongChecksumIsKeptVisible) {
  ByteVector second = Tcp(flow(), 100, 100);
  second.back() ^= 1;
  ByteVector first = Tcp(flow(), 0, 100);
  first.back() ^= 1;
  EXPECT_EQ(Coalesced({Tcp(flow(), 0, 100), second, Tcp(flow(), 200, 100)}).size(), 3u);
  EXPECT_EQ(Coalesced({first, Tcp(flow(), 100, 100), Tcp(flow(), 200, 100)}).size(), 2u);
  const PacketBatch out = Coalesced({first});
  EXPECT_EQ(ByteVector(out[0].bytes().begin(), out[0].bytes().end()), first);
  EXPECT_FALSE(out[0].checksum_valid);
  // Trusted packets are not looked at.
  EXPECT_EQ(Coalesced({first, second}, /*trusted=*/true).size(), 1u);
}

TEST_P(CoalesceTest, AnAbsentUdpChecksumIsNotMerged) {
  const Flow f = flow();
  ByteVector datagram = BuildUdp(f.source, f.destination, Filled(100));
  StoreBig16(&datagram[ip_size() + 6], 0);
  EXPECT_EQ(Coalesced({datagram, datagram}).size(), 2u);
}

TEST_P(CoalesceTest, ASuperPacketStaysWithinTheLargestPacket) {
  std::vector<ByteVector> packets;
  for (uint32_t i = 0; i < 100; ++i) packets.push_back(Tcp(flow(), i * 1368, 1368));
  const PacketBatch out = Coalesced(packets);
  ASSERT_EQ(out.size(), 3u);
  const size_t segments_max = (kPacketBytesMax - tcp_headers()) / 1368;
  EXPECT_EQ(out[0].size, tcp_headers() + segments_max * 1368);
  EXPECT_EQ(Split(out), [&] {
    // DF is set, so the splitter numbers the packets anew.
    std::vector<ByteVector> want = packets;
    if (!v6()) {
      for (size_t i = 0; i < want.size(); ++i) {
        StoreBig16(&want[i][4], static_cast<uint16_t>(LoadBig16(&packets[0][4]) +
                                                      i % segments_max));
        SetIpv4HeaderChecksum(want[i]);
      }
    }
    return want;
  }());
}

TEST_P(CoalesceTest, AUdpTrainStaysWithinWhatTheKernelCuts) {
  const Flow f = flow();
  const std::vector<ByteVector> packets(150, BuildUdp(f.source, f.destination, Filled(20)));
  EXPECT_EQ(Sizes(Coalesced(packets)),
            (std::vector<size_t>{udp_headers() + 64 * 20, udp_headers() + 64 * 20,
                                 udp_headers() + 22 * 20}));
}

TEST_P(CoalesceTest, InterleavedFlowsAreMergedEach) {
  std::vector<ByteVector> packets;
  for (uint32_t i = 0; i < 5; ++i) {
    for (uint16_t port = 0; port < kCoalescedFlowsMax; ++port) {
      packets.push_back(Tcp(MakeFlow(v6(), 1000 + port), i * 100, 100));
    }
  }
  const PacketBatch out = Coalesced(packets);
  ASSERT_EQ(out.size(), kCoalescedFlowsMax);
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(out[i].size, tcp_headers() + 500);
    EXPECT_EQ(ParseIp(out[i].bytes())->source_port, 1000 + i);
  }
}

TEST_P(CoalesceTest, MoreFlowsThanPlacesLoseNothing) {
  std::vector<ByteVector> packets;
  for (uint32_t i = 0; i < 3; ++i) {
    for (uint16_t port = 0; port < kCoalescedFlowsMax + 1; ++port) {
      packets.push_back(Tcp(MakeFlow(v6(), 1000 + port), i * 100, 100));
    }
  }
  EXPECT_EQ(Coalesced(packets).size(), packets.size());
}

TEST_P(CoalesceTest, AFlowInUseKeepsItsPlace) {
  std::vector<ByteVector> packets;
  for (uint16_t i = 0; i < 3 * kCoalescedFlowsMax; ++i) {
    packets.push_back(Tcp(MakeFlow(v6(), 999), i * 100u, 100));
    packets.push_back(Tcp(MakeFlow(v6(), 1000 + i), 0, 100));
  }
  EXPECT_EQ(Coalesced(packets).size(), 3 * kCoalescedFlowsMax + 1);
}

TEST(CoalescerTest, IsEmptyAfterFlush) {
  Coalescer coalescer;
  const ByteVector first = Tcp(MakeFlow(false), 0, 100);
  const ByteVector second = Tcp(MakeFlow(false), 100, 100);
  PacketBatch out;
  coalescer.Add(first, true);
  coalescer.Flush(out);
  coalescer.Add(second, true);
  coalescer.Flush(out);
  coalescer.Flush(out);
  EXPECT_EQ(out.size(), 2u);
}

TEST(CoalescerTest, NonsenseGoesThroughUnchanged) {
  const std::vector<ByteVector> nonsense = {Filled(1), Filled(19, 0x45), Filled(40, 0x60),
                                       Filled(100, 0x45), Filled(3000, 0x66)};
  const PacketBatch out = Coalesced(nonsense);
  ASSERT_EQ(out.size(), nonsense.size());
  for (size_t i = 0; i < out.size(); ++i) {
    EXPECT_EQ(ByteVector(out[i].bytes().begin(), out[i].bytes().end()), nonsense[i]);
  }
}

// Super-packets of several flows, cut, interleaved at random (each flow in
// order), merged and cut again: every flow's bytes are what they were.
TEST(CoalescePropertyTest, SplitThenCoalesceThenSplitKeepsEveryFlow) {
  constexpr uint64_t kSeed = 0x1ce9;
  SeededRandom random(kSeed);
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << " round " << round);
    const size_t flows = 1 + random.Below(2 * kCoalescedFlowsMax);
    std::vector<std::deque<ByteVector>> queues(flows);
    for (size_t f = 0; f < flows; ++f) {
      const Flow flow = MakeFlow(random.Below(2) == 0, static_cast<uint16_t>(1000 + f));
      const bool tcp = random.Below(3) != 0;
      uint32_t sequence = random.Uint32();
      for (uint64_t n = 1 + random.Below(3); n > 0; --n) {
        ByteVector payload(random.Below(6000));
        random.Fill(payload);
        const uint8_t flags = kTcpAck | (random.Below(2) ? kTcpPsh : 0) |
                              (random.Below(8) == 0 ? kTcpFin : 0);
        ByteVector whole = tcp ? BuildTcp(flow.source, flow.destination,
                                     {.sequence = sequence, .flags = flags, .window = 9}, payload)
                          : BuildUdp(flow.source, flow.destination, payload);
        sequence += static_cast<uint32_t>(payload.size());
        Packet packet;
        packet.data = whole.data();
        packet.size = static_cast<uint32_t>(whole.size());
        packet.segment_size = static_cast<uint16_t>(1 + random.Below(1400));
        const SegmentSplitter splitter(packet);
        ASSERT_TRUE(splitter.valid());
        for (size_t i = 0; i < splitter.count(); ++i) {
          ByteVector segment(splitter.size(i));
          splitter.Write(i, segment);
          queues[f].push_back(std::move(segment));
        }
      }
    }

    std::vector<std::vector<ByteVector>> sent(flows);
    std::vector<ByteVector> wire;
    while (true) {
      const size_t f = random.Below(flows);
      const auto left = std::find_if(queues.begin(), queues.end(),
                                     [](const auto& queue) { return !queue.empty(); });
      if (left == queues.end()) break;
      // Bursts, as trains arrive.
      for (uint64_t burst = 1 + random.Below(20); burst > 0 && !queues[f].empty(); --burst) {
        sent[f].push_back(queues[f].front());
        wire.push_back(std::move(queues[f].front()));
        queues[f].pop_front();
      }
    }

    const std::vector<ByteVector> received = Split(Coalesced(wire, random.Below(2) == 0));
    std::vector<std::vector<ByteVector>> got(flows);
    for (const ByteVector& packet : received) got[ParseIp(packet)->source_port - 1000u].push_back(packet);
    for (size_t f = 0; f < flows; ++f) {
      ASSERT_EQ(got[f].size(), sent[f].size());
      for (size_t i = 0; i < got[f].size(); ++i) {
        // With DF the identification is not kept: take it out of the question.
        for (ByteVector* packet : {&got[f][i], &sent[f][i]}) {
          if ((*packet)[0] >> 4 != 4 || ((*packet)[6] & 0x40) == 0) continue;
          StoreBig16(packet->data() + 4, 0);
          SetIpv4HeaderChecksum(*packet);
        }
        ASSERT_EQ(got[f][i], sent[f][i]) << "flow " << f << " packet " << i;
      }
    }
  }
}

}  // namespace
}  // namespace im::tunnel
