#include "netstack/block_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace im::netstack {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr bool kKeeps = false;  // so that use after free is found
#else
constexpr bool kKeeps = true;
#endif

TEST(BlockPoolTest, LargeBlocksAreUsedAgainForOthersOfTheirSize) {
  TrimBlocks();
  void* block = AllocateBlock(60'000);
  std::memset(block, 1, 60'000);
  FreeBlock(block);
  EXPECT_EQ(PooledBytes() > 0, kKeeps);
  void* again = AllocateBlock(65'000);
  EXPECT_EQ(PooledBytes(), 0u);
  std::memset(again, 2, 65'000);
  FreeBlock(again);
  TrimBlocks();
}

TEST(BlockPoolTest, SmallBlocksAreNotKept) {
  TrimBlocks();
  FreeBlock(AllocateBlock(100));
  FreeBlock(AllocateBlock(4096));
  FreeBlock(nullptr);
  EXPECT_EQ(PooledBytes(), 0u);
}

TEST(BlockPoolTest, KeepsNoMoreThanItMay) {
  TrimBlocks();
  std::vector<void*> blocks;
  for (size_t i = 0; i < 400; ++i) {
    // Every size up to the largest pbuf.
    const size_t size = 1 + i * 165;
    blocks.push_back(AllocateBlock(size));
    std::memset(blocks.back(), 3, size);
  }
  for (void* block : blocks) FreeBlock(block);
  EXPECT_LE(PooledBytes(), kPooledBytesMax);
  TrimBlocks();
  EXPECT_EQ(PooledBytes(), 0u);
}

}  // namespace
}  // namespace im::netstack
