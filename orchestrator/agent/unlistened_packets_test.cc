#include "orchestrator/agent/unlistened_packets.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/ip_build.h"

namespace im::agent {
namespace {

class UnlistenedPacketsTest : public testing::Test {
 protected:
  static Endpoint From(uint16_t port) { return {IpAddress::V4(0x0a4d0009), port}; }
  static Endpoint To(uint16_t port) { return {IpAddress::V4(0x0a4d0003), port}; }

  void Keep(std::vector<uint8_t> bytes) {
    Packet packet;
    packet.data = bytes.data();
    packet.size = static_cast<uint32_t>(bytes.size());
    packets_.Keep(packet, *ParseIp(bytes));
  }
  void KeepSyn(uint16_t from, uint16_t to, uint32_t sequence) {
    Keep(BuildTcp(From(from), To(to), {.sequence = sequence, .flags = kTcpSyn}));
  }
  void KeepDatagram(uint16_t to, const std::string& text) {
    Keep(BuildUdp(From(5), To(to), {reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
  }
  static std::vector<uint32_t> Sequences(const PacketBatch& batch) {
    std::vector<uint32_t> sequences;
    for (const Packet& packet : batch) sequences.push_back(ParseIp(packet.bytes())->tcp_sequence);
    return sequences;
  }
  static std::string Texts(const PacketBatch& batch) {
    std::string texts;
    for (const Packet& packet : batch) {
      const IpView view = *ParseIp(packet.bytes());
      const auto payload = packet.bytes().subspan(view.payload_offset, view.payload_size());
      texts.append(payload.begin(), payload.end());
    }
    return texts;
  }

  UnlistenedPackets packets_;
};

TEST_F(UnlistenedPacketsTest, APortGetsItsOwnInOrder) {
  KeepSyn(1, 80, 11);
  KeepSyn(2, 81, 12);
  KeepDatagram(80, "a");
  KeepSyn(3, 80, 13);
  KeepDatagram(80, "b");
  EXPECT_EQ(packets_.held(), 5u);
  EXPECT_EQ(Sequences(packets_.Take({kProtocolTcp, To(80)})), (std::vector<uint32_t>{11, 13}));
  EXPECT_TRUE(packets_.Take({kProtocolTcp, To(80)}).empty());
  EXPECT_TRUE(packets_.Take({kProtocolUdp, {*IpAddress::Parse("fd00::3"), 80}}).empty());
  EXPECT_TRUE(packets_.Has({kProtocolUdp, To(80)}));
  EXPECT_EQ(Texts(packets_.Take({kProtocolUdp, To(80)})), "ab");
  EXPECT_FALSE(packets_.Has({kProtocolUdp, To(80)}));
  EXPECT_EQ(packets_.held(), 1u);
  EXPECT_EQ(Sequences(packets_.TakeAll()), std::vector<uint32_t>{12});
  EXPECT_EQ(packets_.held(), 0u);
}

TEST_F(UnlistenedPacketsTest, OfACallerTheNewestSynIsKeptOnce) {
  KeepSyn(1, 80, 11);
  KeepSyn(1, 80, 11);
  EXPECT_EQ(packets_.held(), 1u);
  KeepSyn(1, 80, 99);
  EXPECT_EQ(Sequences(packets_.Take({kProtocolTcp, To(80)})), std::vector<uint32_t>{99});
  KeepSyn(1, 80, 11);
  EXPECT_EQ(packets_.held(), 1u) << "what was taken is forgotten";
}

TEST_F(UnlistenedPacketsTest, ACallerThatGivesUpIsForgotten) {
  KeepSyn(1, 80, 11);
  KeepSyn(2, 80, 12);
  const auto reset = BuildTcp(From(1), To(80), {.flags = kTcpRst});
  packets_.Forget(ParseIp(reset)->flow());
  packets_.Forget(ParseIp(reset)->flow());
  EXPECT_EQ(packets_.held(), 1u);
  EXPECT_EQ(Sequences(packets_.TakeAll()), std::vector<uint32_t>{12});
}

TEST_F(UnlistenedPacketsTest, ItIsBoundedInPacketsAndBytes) {
  for (uint32_t i = 0; i <= UnlistenedPackets::kPacketsMax; ++i)
    KeepSyn(static_cast<uint16_t>(i), 80, i);
  EXPECT_EQ(packets_.held(), UnlistenedPackets::kPacketsMax);
  packets_.TakeAll();
  const std::string large(60'000, 'x');
  for (size_t i = 0; i < 20; ++i) KeepDatagram(80, large);
  EXPECT_EQ(packets_.held(), UnlistenedPackets::kBytesMax / 60'028);
}

}  // namespace
}  // namespace im::agent
