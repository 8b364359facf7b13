#include "tunnel/staged_packets.h"

#include <gtest/gtest.h>

#include "tunnel/constants.h"

namespace im::tunnel {
namespace {

Packet& Make(PacketBatch& batch, size_t size, uint8_t mark) {
  Packet& packet = batch.Append(size);
  packet.data[0] = mark;
  return packet;
}

TEST(StagedPacketsTest, KeepsOrderAndTheOffloadFields) {
  StagedPackets staged;
  PacketBatch batch;
  Packet& first = Make(batch, 100, 1);
  first.segment_size = 40;
  first.checksum_partial = true;
  EXPECT_EQ(staged.Push(first), 0u);
  EXPECT_EQ(staged.Push(Make(batch, 50, 2)), 0u);
  batch.Clear();
  const auto views = staged.Views();
  ASSERT_EQ(views.size(), 2u);
  EXPECT_EQ(views[0].data[0], 1);
  EXPECT_EQ(views[0].segment_size, 40);
  EXPECT_TRUE(views[0].checksum_partial);
  EXPECT_EQ(views[1].data[0], 2);
  EXPECT_EQ(staged.bytes(), 150u);
  EXPECT_EQ(staged.Clear(), 2u);
  EXPECT_TRUE(staged.empty());
}

TEST(StagedPacketsTest, TheOldestGoesAboveTheNumber) {
  StagedPackets staged;
  PacketBatch batch;
  for (size_t i = 0; i < kStagedPacketsMax; ++i)
    EXPECT_EQ(staged.Push(Make(batch, 20, static_cast<uint8_t>(i))), 0u);
  EXPECT_EQ(staged.Push(Make(batch, 20, 200)), 1u);
  EXPECT_EQ(staged.size(), kStagedPacketsMax);
  EXPECT_EQ(staged.Views().front().data[0], 1);
  EXPECT_EQ(staged.Views().back().data[0], 200);
}

TEST(StagedPacketsTest, TheOldestGoAboveTheBytes) {
  StagedPackets staged;
  PacketBatch batch;
  const size_t fit = kStagedBytesMax / kPacketBytesMax;
  for (size_t i = 0; i < fit; ++i) EXPECT_EQ(staged.Push(Make(batch, kPacketBytesMax, 1)), 0u);
  EXPECT_EQ(staged.Push(Make(batch, kPacketBytesMax, 2)), 1u);
  EXPECT_LE(staged.bytes(), kStagedBytesMax);
  EXPECT_EQ(staged.size(), fit);
}

}  // namespace
}  // namespace im::tunnel
