#include "base/packet.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"

namespace im {
namespace {

std::vector<uint8_t> Pattern(size_t size, uint64_t seed) {
  std::vector<uint8_t> bytes(size);
  SeededRandom(seed).Fill(bytes);
  return bytes;
}

std::vector<uint8_t> Copy(const Packet& packet) { return {packet.data, packet.data + packet.size}; }

TEST(PacketBatchTest, PacketsStartAligned) {
  PacketBatch batch;
  for (size_t size = 0; size < 200; ++size) {
    const Packet& packet = batch.Append(size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(packet.data) % 16, 0u);
    EXPECT_EQ(packet.size, size);
    EXPECT_EQ(packet.segment_size, 0u);
    EXPECT_FALSE(packet.checksum_partial);
  }
}

TEST(PacketBatchTest, HeadroomAndTailroomBelongToThePacket) {
  SeededRandom random(4);
  PacketBatch batch;
  std::vector<std::vector<uint8_t>> expected;
  for (int i = 0; i < 300; ++i) {
    expected.push_back(Pattern(random.Below(3000), static_cast<uint64_t>(i)));
    batch.AppendCopy(std::span<const uint8_t>(expected.back()));
  }
  for (const Packet& packet : batch) {
    std::memset(packet.data - kPacketHeadroom, 0xee, kPacketHeadroom);
    std::memset(packet.data + packet.size, 0xee, kPacketTailroom);
  }
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(Copy(batch[i]), expected[i]) << i;
}

TEST(PacketBatchTest, ViewsSurviveGrowthAndMoves) {
  PacketBatch batch;
  batch.AppendCopy(std::span<const uint8_t>(Pattern(100, 1)));
  uint8_t* const first = batch[0].data;
  for (int i = 0; i < 50; ++i) batch.Append(kPacketBytesMax);
  PacketBatch moved = std::move(batch);
  EXPECT_EQ(moved[0].data, first);
  EXPECT_EQ(Copy(moved[0]), Pattern(100, 1));
  EXPECT_EQ(moved.size(), 51u);
  EXPECT_EQ(moved.total_bytes(), 100 + 50 * kPacketBytesMax);
  EXPECT_TRUE(batch.empty());
  batch.Append(10);  // a moved-from batch is an empty one
  EXPECT_EQ(batch.size(), 1u);
}

TEST(PacketBatchTest, AppendCopyKeepsWhatIsKnownOfThePacket) {
  PacketBatch from;
  Packet& packet = from.AppendCopy(std::span<const uint8_t>(Pattern(3000, 2)));
  packet.segment_size = 1380;
  packet.checksum_partial = true;
  packet.checksum_valid = true;
  PacketBatch to;
  const Packet& copy = to.AppendCopy(from[0]);
  EXPECT_NE(copy.data, from[0].data);
  EXPECT_EQ(Copy(copy), Pattern(3000, 2));
  EXPECT_EQ(copy.segment_size, 1380);
  EXPECT_TRUE(copy.checksum_partial);
  EXPECT_TRUE(copy.checksum_valid);
}

TEST(PacketBatchTest, AppendCopyOfAPacketOfTheSameBatch) {
  PacketBatch batch;
  batch.AppendCopy(std::span<const uint8_t>(Pattern(1000, 3)));
  for (int i = 0; i < 1000; ++i) batch.AppendCopy(batch[0]);
  for (const Packet& packet : batch) ASSERT_EQ(Copy(packet), Pattern(1000, 3));
}

TEST(PacketBatchTest, ShrinkLastGivesTheRoomBack) {
  PacketBatch batch;
  // A thousand reads into room for the largest packet, 100 bytes each: without
  // giving back they would need 250 chunks.
  uint8_t* last = nullptr;
  int jumps = 0;
  for (int i = 0; i < 1000; ++i) {
    Packet& packet = batch.Append(kPacketBytesMax);
    std::memset(packet.data, i & 0xff, 100);
    if (last != nullptr && packet.data != last + 240) ++jumps;  // 64 + 100 + 64, aligned
    last = packet.data;
    batch.ShrinkLast(100);
  }
  EXPECT_LE(jumps, 2);
  for (size_t i = 0; i < batch.size(); ++i) {
    ASSERT_EQ(batch[i].size, 100u);
    for (size_t j = 0; j < 100; ++j) ASSERT_EQ(batch[i].data[j], i & 0xff);
  }
}

TEST(PacketBatchTest, DropLastGivesTheRoomBack) {
  PacketBatch batch;
  batch.Append(100);
  uint8_t* const second = batch.Append(kPacketBytesMax).data;
  batch.DropLast();
  EXPECT_EQ(batch.size(), 1u);
  EXPECT_EQ(batch.Append(5).data, second);
}

TEST(PacketBatchTest, DroppingAcrossAChunksBorderKeepsTheOthers) {
  PacketBatch batch;
  for (int i = 0; i < 4; ++i)
    batch.AppendCopy(std::span<const uint8_t>(Pattern(kPacketBytesMax, static_cast<uint64_t>(i))));
  batch.Append(kPacketBytesMax);  // the first of a new chunk
  batch.DropLast();
  batch.ShrinkLast(500);  // of the chunk before
  batch.AppendCopy(std::span<const uint8_t>(Pattern(kPacketBytesMax, 8)));
  for (size_t i = 0; i < 3; ++i)
    EXPECT_EQ(Copy(batch[i]), Pattern(kPacketBytesMax, static_cast<uint64_t>(i)));
  EXPECT_EQ(batch[3].size, 500u);
  EXPECT_EQ(Copy(batch[4]), Pattern(kPacketBytesMax, 8));
  // Room was not given back twice: two more lie apart from all others.
  for (uint64_t seed = 9; seed < 11; ++seed)
    batch.AppendCopy(std::span<const uint8_t>(Pattern(kPacketBytesMax, seed)));
  for (size_t i = 0; i < batch.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      EXPECT_GE(std::abs(batch[i].data - batch[j].data), kPacketBytesMax + 0L) << i << " " << j;
  for (int i = 0; i < 4; ++i) batch.DropLast();
  batch.DropLast();
  batch.AppendCopy(std::span<const uint8_t>(Pattern(kPacketBytesMax, 9)));
  ASSERT_EQ(batch.size(), 3u);
  EXPECT_EQ(Copy(batch[0]), Pattern(kPacketBytesMax, 0));
  EXPECT_EQ(Copy(batch[1]), Pattern(kPacketBytesMax, 1));
  EXPECT_EQ(Copy(batch[2]), Pattern(kPacketBytesMax, 9));
}

TEST(PacketBatchTest, ClearMakesTheSameRoomUsableAgain) {
  PacketBatch batch;
  for (int i = 0; i < 20; ++i) batch.Append(kPacketBytesMax);
  batch.Clear();
  EXPECT_TRUE(batch.empty());
  EXPECT_EQ(batch.total_bytes(), 0u);
  uint8_t* const first = batch.Append(100).data;
  batch.Clear();
  EXPECT_EQ(batch.Append(100).data, first);
}

TEST(PacketBatchTest, ABatchFromSinglePacketGrowsLikeAnyOther) {
  PacketBatch batch = SinglePacket(Pattern(60, 5));
  batch.AppendCopy(std::span<const uint8_t>(Pattern(60'000, 6)));
  EXPECT_EQ(Copy(batch[0]), Pattern(60, 5));
  EXPECT_EQ(Copy(batch[1]), Pattern(60'000, 6));
  batch.Clear();
  batch.AppendCopy(std::span<const uint8_t>(Pattern(100, 7)));
  EXPECT_EQ(Copy(batch[0]), Pattern(100, 7));
}

TEST(PacketBatchTest, EmptyPacketsAreAllowed) {
  PacketBatch batch = SinglePacket({});
  batch.AppendCopy(std::span<const uint8_t>());
  EXPECT_EQ(batch.size(), 2u);
  EXPECT_EQ(batch.total_bytes(), 0u);
}

TEST(PacketBatchDeathTest, APacketThatIsTooBigIsABug) {
  PacketBatch batch;
  EXPECT_DEATH(batch.Append(kPacketBytesMax + 1), "check failed");
  EXPECT_DEATH(batch.DropLast(), "check failed");
}

// Bytes that malloc has handed out, arenas and mappings; 0 where a sanitizer
// has replaced malloc.
size_t HeapBytes() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST(PacketPoolTest, AThousandHeldPacketsTakeTheirOwnSizeOnly) {
  TrimPacketPool();
  const size_t before = HeapBytes();
  if (before == 0) GTEST_SKIP() << "malloc does not say what it holds";
  std::vector<PacketBatch> held;
  for (int i = 0; i < 1000; ++i) held.push_back(SinglePacket(Pattern(60, 1)));
  EXPECT_LT(HeapBytes() - before, 1000u * 512);
}

TEST(PacketPoolTest, AfterATrimNothingIsKept) {
  TrimPacketPool();
  const size_t before = HeapBytes();
  if (before == 0) GTEST_SKIP() << "malloc does not say what it holds";
  {
    std::vector<PacketBatch> batches(40);
    for (PacketBatch& batch : batches) batch.Append(100);
  }
  const size_t pooled = HeapBytes() - before;
  EXPECT_GT(pooled, size_t{1} << 20);  // kept for the next batches
  EXPECT_LT(pooled, size_t{6} << 20);  // but not all of them
  TrimPacketPool();
  EXPECT_LT(HeapBytes(), before + 10'000);
}

TEST(PacketPoolTest, ABatchMayDieOnAnotherThreadOrAfterItsThread) {
  PacketBatch from_thread;
  std::thread([&] {
    from_thread.AppendCopy(std::span<const uint8_t>(Pattern(1000, 8)));
    PacketBatch own;
    own.Append(1);
  }).join();
  EXPECT_EQ(Copy(from_thread[0]), Pattern(1000, 8));
  std::thread([batch = std::move(from_thread)]() mutable { batch.Clear(); }).join();
}

TEST(PacketPoolTest, AThreadLocalBatchMayOutliveThePool) {
  std::thread([] {
    thread_local PacketBatch last;  // destroyed after what is made later
    last.Append(10);
    PacketBatch other;
    other.Append(10);
  }).join();
}

}  // namespace
}  // namespace im
