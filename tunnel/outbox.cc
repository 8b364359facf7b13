#include "tunnel/outbox.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace im::tunnel {
namespace {

constexpr size_t kAlignment = 16;

// Room of a chunk in bytes: four of the largest runs. Pages of it that were
// never written take no memory.
constexpr size_t kChunkBytes = 4 * (kGsoBytesMax + kAlignment);

constexpr size_t AlignUp(size_t n) { return (n + kAlignment - 1) & ~(kAlignment - 1); }

}  // namespace

struct DatagramBatch::Chunk {
  explicit Chunk(size_t capacity_bytes)
      : capacity(capacity_bytes), bytes(static_cast<uint8_t*>(std::malloc(capacity_bytes))) {
    IM_CHECK(bytes != nullptr);
  }
  ~Chunk() { std::free(bytes); }

  const size_t capacity;
  uint8_t* const bytes;
  size_t used = 0;
  size_t last_begin = 0;  // of the last allocation
};

DatagramBatch::DatagramBatch() = default;
DatagramBatch::~DatagramBatch() = default;
DatagramBatch::DatagramBatch(DatagramBatch&& other) noexcept
    : runs_(std::move(other.runs_)),
      chunks_(std::move(other.chunks_)),
      active_(std::exchange(other.active_, 0)) {
  other.runs_.clear();
  other.chunks_.clear();
}
DatagramBatch& DatagramBatch::operator=(DatagramBatch&& other) noexcept {
  if (this == &other) return *this;
  runs_ = std::move(other.runs_);
  chunks_ = std::move(other.chunks_);
  active_ = std::exchange(other.active_, 0);
  other.runs_.clear();
  other.chunks_.clear();
  return *this;
}

std::span<uint8_t> DatagramBatch::Allocate(size_t size) {
  const size_t needed = AlignUp(size);
  while (active_ < chunks_.size() &&
         chunks_[active_]->capacity - chunks_[active_]->used < needed) {
    ++active_;
  }
  if (active_ == chunks_.size())
    chunks_.push_back(std::make_unique<Chunk>(std::max(needed, kChunkBytes)));
  Chunk& chunk = *chunks_[active_];
  chunk.last_begin = chunk.used;
  chunk.used += needed;
  return {chunk.bytes + chunk.last_begin, size};
}

void DatagramBatch::ShrinkLast(size_t size) {
  IM_CHECK(active_ < chunks_.size());
  Chunk& chunk = *chunks_[active_];
  IM_CHECK(chunk.last_begin + size <= chunk.used);
  chunk.used = chunk.last_begin + AlignUp(size);
}

void DatagramBatch::AddCopy(const Endpoint& peer, std::span<const uint8_t> bytes) {
  DatagramRun run;
  run.peer = peer;
  run.segment_size = static_cast<uint32_t>(bytes.size());
  run.bytes = Allocate(bytes.size());
  if (!bytes.empty()) std::memcpy(run.bytes.data(), bytes.data(), bytes.size());
  Add(run);
}

void DatagramBatch::Clear() {
  runs_.clear();
  if (chunks_.empty()) return;
  const size_t keep = std::max({active_ + 1, chunks_.size() - 1, size_t{1}});
  if (keep < chunks_.size()) chunks_.resize(keep);
  for (const std::unique_ptr<Chunk>& chunk : chunks_) chunk->used = chunk->last_begin = 0;
  active_ = 0;
}

}  // namespace im::tunnel
