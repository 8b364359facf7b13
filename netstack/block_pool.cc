#include "netstack/block_pool.h"

#include <malloc.h>

#include <cstdlib>
#include <cstring>
#include <new>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1  // as gcc says it
#endif
#endif

namespace im::netstack {
namespace {

// The last holds the largest packet with lwIP's own headers.
constexpr size_t kSizes[] = {8 << 10, 16 << 10, 32 << 10, (64 << 10) + 1024};
constexpr int kSizeCount = sizeof(kSizes) / sizeof(kSizes[0]);

#ifdef __SANITIZE_ADDRESS__
constexpr size_t kKeptBytesMax = 0;  // so that use after free is found
#else
constexpr size_t kKeptBytesMax = kPooledBytesMax;
#endif

// Kept blocks begin with the next one's address.
struct Kept {
  Kept* next;
};
Kept* kept[kSizeCount];
size_t kept_bytes = 0;

}  // namespace

void* AllocateBlock(size_t size) {
  // Half of the smallest, so that rounding up at most doubles.
  if (size <= kSizes[0] / 2) return std::malloc(size);
  for (int i = 0; i < kSizeCount; ++i) {
    if (size > kSizes[i]) continue;
    if (kept[i] == nullptr) return std::malloc(kSizes[i]);
    Kept* block = kept[i];
    kept[i] = block->next;
    kept_bytes -= kSizes[i];
    return block;
  }
  return std::malloc(size);
}

void FreeBlock(void* block) {
  if (block == nullptr) return;
  // It has at least what was asked for, and little more.
  const size_t size = malloc_usable_size(block);
  for (int i = kSizeCount - 1; i >= 0; --i) {
    if (size < kSizes[i]) continue;
    if (kept_bytes + kSizes[i] > kKeptBytesMax) break;
    kept[i] = ::new (block) Kept{kept[i]};
    kept_bytes += kSizes[i];
    return;
  }
  std::free(block);
}

void TrimBlocks() {
  for (Kept*& list : kept) {
    while (list != nullptr) {
      Kept* next = list->next;
      std::free(list);
      list = next;
    }
  }
  kept_bytes = 0;
  // Free pages between blocks that live are only given back when asked for.
  malloc_trim(0);
}

size_t PooledBytes() { return kept_bytes; }

}  // namespace im::netstack

// ---- as lwIP calls it ----

extern "C" {
void* im_lwip_malloc(size_t size) { return im::netstack::AllocateBlock(size); }
void* im_lwip_calloc(size_t count, size_t size) {
  void* block = im::netstack::AllocateBlock(count * size);
  if (block != nullptr) std::memset(block, 0, count * size);
  return block;
}
void im_lwip_free(void* block) { im::netstack::FreeBlock(block); }
}
