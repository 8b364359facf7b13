#include "orchestrator/held_packets.h"

#include <gtest/gtest.h>

#include "orchestrator/test_packets.h"

namespace im::orchestrator {
namespace {

using Result = HeldPackets::Result;
constexpr HostId kDb = 3;
constexpr HostId kWeb = 4;
const Instant kHeldStart{std::chrono::seconds(100)};
const Instant kSoon = kHeldStart + std::chrono::seconds(1);
const Instant kLater = kHeldStart + std::chrono::seconds(2);

Result Put(HeldPackets& held, HostId host, const std::vector<uint8_t>& bytes,
           Instant deadline = kSoon) {
  TestPacket packet(bytes);
  return held.Enqueue(host, packet.packet(), packet.view(), kHeldStart, deadline);
}

TEST(HeldPackets, KeepsOrderAndBytes) {
  HeldPackets held;
  EXPECT_EQ(Put(held, kDb, Syn(1, kDb)), Result::kHeld);
  EXPECT_EQ(Put(held, kDb, Udp(2, kDb)), Result::kHeld);
  EXPECT_EQ(Put(held, kWeb, Syn(1, kWeb)), Result::kHeld);
  EXPECT_EQ(held.packets(kDb), 2u);
  EXPECT_EQ(held.packets(), 3u);
  const PacketBatch batch = held.Take(kDb);
  ASSERT_EQ(batch.size(), 2u);
  const std::vector<uint8_t> syn = Syn(1, kDb);
  EXPECT_TRUE(std::equal(syn.begin(), syn.end(), batch[0].data, batch[0].data + batch[0].size));
  EXPECT_EQ(ParseIp(batch[1].bytes())->protocol, kProtocolUdp);
  EXPECT_FALSE(held.Has(kDb));
  EXPECT_TRUE(held.Has(kWeb));
  EXPECT_TRUE(held.Take(kDb).empty());
}

TEST(HeldPackets, MeasuresHowLongDeliveredOnesWereHeld) {
  HeldPackets held;
  Put(held, kDb, Syn(1, kDb));
  Put(held, kDb, Udp(2, kDb));
  Put(held, kWeb, Syn(1, kWeb));
  EXPECT_EQ(held.TakeToDeliver(kDb, kHeldStart + std::chrono::milliseconds(30)).size(), 2u);
  held.Take(kWeb);  // refused
  EXPECT_EQ(held.hold_times().count(), 2u);
  EXPECT_EQ(held.hold_times().sum(), std::chrono::milliseconds(60));
  EXPECT_TRUE(held.TakeToDeliver(kDb, kSoon).empty());
}

TEST(HeldPackets, KeepsTheMarksOfASuperPacket) {
  HeldPackets held;
  TestPacket packet(Udp(2, kDb, 3000));
  packet.packet().segment_size = 1200;
  packet.packet().checksum_partial = true;
  packet.packet().checksum_valid = true;
  ASSERT_EQ(held.Enqueue(kDb, packet.packet(), packet.view(), kHeldStart, kSoon), Result::kHeld);
  const PacketBatch batch = held.Take(kDb);
  EXPECT_EQ(batch[0].segment_size, 1200);
  EXPECT_TRUE(batch[0].checksum_partial);
  EXPECT_TRUE(batch[0].checksum_valid);
}

TEST(HeldPackets, ARepeatedSynIsHeldOnce) {
  HeldPackets held;
  EXPECT_EQ(Put(held, kDb, Syn(1, kDb, 77)), Result::kHeld);
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(Put(held, kDb, Syn(1, kDb, 77), kLater), Result::kDuplicate);
  EXPECT_EQ(held.packets(kDb), 1u);
  EXPECT_EQ(held.NextDeadline(), kSoon);
}

TEST(HeldPackets, ANewAttemptTakesTheOldOnesPlace) {
  HeldPackets held;
  EXPECT_EQ(Put(held, kDb, Syn(1, kDb, 77)), Result::kHeld);
  EXPECT_EQ(Put(held, kDb, Syn(2, kDb, 77)), Result::kHeld);
  EXPECT_EQ(Put(held, kDb, Syn(1, kDb, 78)), Result::kReplaced);
  const PacketBatch batch = held.Take(kDb);
  ASSERT_EQ(batch.size(), 2u);
  EXPECT_EQ(ParseIp(batch[0].bytes())->tcp_sequence, 78u);
  EXPECT_EQ(ParseIp(batch[1].bytes())->source_port, 2);
}

TEST(HeldPackets, RepeatedDatagramsAreAllHeld) {
  HeldPackets held;
  EXPECT_EQ(Put(held, kDb, Udp(1, kDb)), Result::kHeld);
  EXPECT_EQ(Put(held, kDb, Udp(1, kDb)), Result::kHeld);
  EXPECT_EQ(held.packets(kDb), 2u);
}

TEST(HeldPackets, EachLimitSaysItsName) {
  const size_t size = Syn(1, kDb).size();
  {
    HeldPackets held({.packets_per_host = 2});
    EXPECT_EQ(Put(held, kDb, Syn(1, kDb)), Result::kHeld);
    EXPECT_EQ(Put(held, kDb, Syn(2, kDb)), Result::kHeld);
    EXPECT_EQ(Put(held, kDb, Syn(3, kDb)), Result::kHostPacketLimit);
    EXPECT_EQ(Put(held, kDb, Syn(2, kDb)), Result::kDuplicate);
    EXPECT_EQ(Put(held, kWeb, Syn(3, kWeb)), Result::kHeld);
  }
  {
    HeldPackets held({.bytes_per_host = 2 * size});
    EXPECT_EQ(Put(held, kDb, Syn(1, kDb)), Result::kHeld);
    EXPECT_EQ(Put(held, kDb, Syn(2, kDb)), Result::kHeld);
    EXPECT_EQ(Put(held, kDb, Syn(3, kDb)), Result::kHostByteLimit);
    EXPECT_EQ(held.bytes(), 2 * size);
  }
  {
    HeldPackets held({.packets = 2});
    EXPECT_EQ(Put(held, kDb, Syn(1, kDb)), Result::kHeld);
    EXPECT_EQ(Put(held, kWeb, Syn(2, kWeb)), Result::kHeld);
    EXPECT_EQ(Put(held, kDb, Syn(3, kDb)), Result::kPacketLimit);
    held.Take(kWeb);
    EXPECT_EQ(Put(held, kDb, Syn(3, kDb)), Result::kHeld);
  }
  {
    HeldPackets held({.bytes = size});
    EXPECT_EQ(Put(held, kDb, Syn(1, kDb)), Result::kHeld);
    EXPECT_EQ(Put(held, kWeb, Syn(2, kWeb)), Result::kByteLimit);
    EXPECT_FALSE(held.Has(kWeb));
    EXPECT_EQ(held.NextDeadline(), kSoon);
  }
}

TEST(HeldPackets, AReplacementObeysTheByteLimits) {
  const std::vector<uint8_t> small = Syn(1, kDb, 1);
  const std::vector<uint8_t> large = Tcp(200, 1, kDb, 6379, kTcpSyn, 2, 100);
  HeldPackets held({.bytes_per_host = small.size() + 50});
  EXPECT_EQ(Put(held, kDb, small), Result::kHeld);
  EXPECT_EQ(Put(held, kDb, large), Result::kHostByteLimit);
  EXPECT_EQ(held.bytes(), small.size());
}

TEST(HeldPackets, ExpiresByDeadlineHostByHost) {
  HeldPackets held;
  EXPECT_EQ(held.NextDeadline(), kNever);
  Put(held, kDb, Syn(1, kDb), kSoon);
  Put(held, kDb, Syn(2, kDb), kLater);
  Put(held, kWeb, Syn(3, kWeb), kSoon);
  EXPECT_EQ(held.Expire(kHeldStart).host, kNoHost);
  HeldPackets::Expired expired = held.Expire(kSoon);
  EXPECT_EQ(expired.host, kDb);
  EXPECT_EQ(expired.packets.size(), 1u);
  expired = held.Expire(kSoon);
  EXPECT_EQ(expired.host, kWeb);
  EXPECT_FALSE(held.Has(kWeb));
  EXPECT_EQ(held.Expire(kSoon).host, kNoHost);
  EXPECT_EQ(held.packets(), 1u);
  EXPECT_EQ(held.NextDeadline(), kLater);
  EXPECT_EQ(held.Expire(kLater).packets.size(), 1u);
  EXPECT_EQ(held.bytes(), 0u);
  EXPECT_EQ(held.NextDeadline(), kNever);
}

}  // namespace
}  // namespace im::orchestrator
