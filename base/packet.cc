// Chunks and the thread's pool of them.
//
// A chunk is one allocation: this header, then room for packets. Chunks of the
// standard size go back to a free list of the thread that destroys them, last
// in, first out, so that the one with warm caches is used next. The list is
// emptied by TrimPacketPool (the event loop does it after a quiet spell) and
// when the thread ends.

#include "base/packet.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "base/check.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1  // as gcc says it
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) (static_cast<void>(address))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) (static_cast<void>(address))
#endif

namespace im {
namespace {

// Packets begin on a multiple of this, in bytes: what SIMD code likes.
constexpr size_t kPacketAlignment = 16;

constexpr size_t AlignUp(size_t n) { return (n + kPacketAlignment - 1) & ~(kPacketAlignment - 1); }

// Bytes of a chunk that one packet takes.
constexpr size_t Footprint(size_t packet_size) {
  return kPacketHeadroom + AlignUp(packet_size + kPacketTailroom);
}

// Room of a standard chunk, in bytes: four of the largest packets, about
// 256 KB. Less would make a TUN read, which needs room for the largest packet
// at hand, waste much of a chunk; more would waste memory in small batches.
constexpr size_t kChunkBytes = 4 * Footprint(kPacketBytesMax);

// Chunks that a thread keeps for the next batches: 4 MB, what a few batches in
// flight at full speed need.
constexpr size_t kPooledChunksMax = 16;

static_assert(kPacketHeadroom % kPacketAlignment == 0);

}  // namespace

// Packets lie behind this header in the same allocation.
struct alignas(kPacketAlignment) PacketBatch::Chunk {
  explicit Chunk(size_t capacity_bytes) : capacity(capacity_bytes) {}

  static std::unique_ptr<Chunk> Make(size_t capacity);
  static void operator delete(Chunk* chunk, std::destroying_delete_t);

  uint8_t* bytes() { return reinterpret_cast<uint8_t*>(this + 1); }
  bool Holds(const uint8_t* p) { return p >= bytes() && p < bytes() + capacity; }
  bool standard() const { return capacity == kChunkBytes; }

  const size_t capacity;
  size_t used = 0;        // bytes
  size_t last_begin = 0;  // where the last packet's headroom begins
};

namespace {

// No destructor: batches may die after the thread's other locals have.
struct Pool {
  void* chunks[kPooledChunksMax];
  size_t size;
  bool closed;
};
constinit thread_local Pool pool = {};

constexpr size_t kChunkHeaderBytes = 32;

void FreeChunkMemory(void* memory) {
  ASAN_UNPOISON_MEMORY_REGION(memory, kChunkHeaderBytes + kChunkBytes);
  std::free(memory);
}

// Empties the pool at the end of the thread.
struct PoolCloser {
  ~PoolCloser() {
    TrimPacketPool();
    pool.closed = true;
  }
};

}  // namespace

void TrimPacketPool() {
  while (pool.size > 0) FreeChunkMemory(pool.chunks[--pool.size]);
}

std::unique_ptr<PacketBatch::Chunk> PacketBatch::Chunk::Make(size_t capacity) {
  static_assert(sizeof(Chunk) == kChunkHeaderBytes);
  void* memory;
  if (capacity == kChunkBytes && pool.size > 0) {
    memory = pool.chunks[--pool.size];
    ASAN_UNPOISON_MEMORY_REGION(memory, kChunkHeaderBytes + kChunkBytes);
  } else {
    memory = std::malloc(sizeof(Chunk) + capacity);
    IM_CHECK(memory != nullptr);
  }
  return std::unique_ptr<Chunk>(::new (memory) Chunk(capacity));
}

void PacketBatch::Chunk::operator delete(Chunk* chunk, std::destroying_delete_t) {
  const bool standard = chunk->standard();
  chunk->~Chunk();
  if (!standard) {
    std::free(chunk);
  } else if (pool.size < kPooledChunksMax && !pool.closed) {
    static thread_local PoolCloser closer;
    // Use after free is found here too.
    ASAN_POISON_MEMORY_REGION(chunk, kChunkHeaderBytes + kChunkBytes);
    pool.chunks[pool.size++] = chunk;
  } else {
    FreeChunkMemory(chunk);
  }
}

PacketBatch::PacketBatch() = default;
PacketBatch::~PacketBatch() = default;
PacketBatch::PacketBatch(PacketBatch&&) noexcept = default;
PacketBatch& PacketBatch::operator=(PacketBatch&&) noexcept = default;

Packet& PacketBatch::Append(size_t size) {
  IM_CHECK(size <= kPacketBytesMax);
  const size_t needed = Footprint(size);
  if (chunks_.empty() || chunks_.back()->capacity - chunks_.back()->used < needed)
    chunks_.push_back(Chunk::Make(kChunkBytes));
  return AppendTo(*chunks_.back(), size);
}

Packet& PacketBatch::AppendTo(Chunk& chunk, size_t size) {
  chunk.last_begin = chunk.used;
  chunk.used += Footprint(size);
  Packet& packet = packets_.emplace_back();
  packet.data = chunk.bytes() + chunk.last_begin + kPacketHeadroom;
  packet.size = static_cast<uint32_t>(size);
  return packet;
}

Packet& PacketBatch::AppendCopy(const Packet& packet) {
  const Packet original = packet;  // may be one of ours, which Append moves
  Packet& copy = Append(original.size);
  uint8_t* const data = copy.data;
  std::memcpy(data, original.data, original.size);
  copy = original;
  copy.data = data;
  return copy;
}

Packet& PacketBatch::AppendCopy(std::span<const uint8_t> bytes) {
  Packet& copy = Append(bytes.size());
  if (!bytes.empty()) std::memcpy(copy.data, bytes.data(), bytes.size());
  return copy;
}

void PacketBatch::ShrinkLast(size_t size) {
  IM_CHECK(!packets_.empty() && size <= packets_.back().size);
  Packet& packet = packets_.back();
  packet.size = static_cast<uint32_t>(size);
  Chunk& chunk = *chunks_.back();
  // Not if the last packet was dropped and the one before lies elsewhere.
  if (chunk.last_begin == chunk.used || !chunk.Holds(packet.data)) return;
  const size_t data_offset = static_cast<size_t>(packet.data - chunk.bytes());
  chunk.used = AlignUp(data_offset + size + kPacketTailroom);
}

void PacketBatch::DropLast() {
  IM_CHECK(!packets_.empty());
  packets_.pop_back();
  Chunk& chunk = *chunks_.back();
  chunk.used = chunk.last_begin;
}

size_t PacketBatch::total_bytes() const {
  size_t sum = 0;
  for (const Packet& packet : packets_) sum += packet.size;
  return sum;
}

void PacketBatch::Clear() {
  packets_.clear();
  if (chunks_.empty()) return;
  // The last is a standard one unless it is SinglePacket's own.
  if (chunks_.size() > 1) chunks_.erase(chunks_.begin(), chunks_.end() - 1);
  chunks_[0]->used = 0;
  chunks_[0]->last_begin = 0;
}

PacketBatch SinglePacket(std::span<const uint8_t> bytes) {
  IM_CHECK(bytes.size() <= kPacketBytesMax);
  // A chunk of its own size: many such batches may be held at a time.
  PacketBatch batch;
  batch.chunks_.push_back(PacketBatch::Chunk::Make(Footprint(bytes.size())));
  Packet& packet = batch.AppendTo(*batch.chunks_.back(), bytes.size());
  if (!bytes.empty()) std::memcpy(packet.data, bytes.data(), bytes.size());
  return batch;
}

}  // namespace im
