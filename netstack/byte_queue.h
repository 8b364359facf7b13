// ByteQueue: bytes in the order in which they came, in chunks, so that an empty
// one holds nothing.

#ifndef IM_NETSTACK_BYTE_QUEUE_H_
#define IM_NETSTACK_BYTE_QUEUE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <span>

namespace im::netstack {

class ByteQueue {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  void Append(std::span<const uint8_t> bytes) {
    while (!bytes.empty()) {
      const std::span<uint8_t> room = Room();
      const size_t n = std::min(room.size(), bytes.size());
      std::memcpy(room.data(), bytes.data(), n);
      Commit(n);
      bytes = bytes.subspan(n);
    }
  }
  // Free bytes to write into, at least one; then Commit those written.
  std::span<uint8_t> Room() {
    if (chunks_.empty() || chunks_.back()->end == kChunkBytes)
      chunks_.push_back(std::make_unique_for_overwrite<Chunk>());
    Chunk& last = *chunks_.back();
    return std::span(last.bytes).subspan(last.end);
  }
  void Commit(size_t n) {
    chunks_.back()->end += n;
    size_ += n;
    if (size_ == 0) chunks_.clear();
  }

  // The first bytes, as many as lie together; empty if there are none.
  std::span<const uint8_t> Front() const {
    if (empty()) return {};
    const Chunk& first = *chunks_.front();
    return std::span(first.bytes).subspan(first.begin, first.end - first.begin);
  }
  // Preconditions: n <= Front().size().
  void Drop(size_t n) {
    if (n == 0) return;
    Chunk& first = *chunks_.front();
    first.begin += n;
    size_ -= n;
    if (first.begin == first.end) chunks_.pop_front();
  }
  size_t Take(std::span<uint8_t> out) {
    size_t done = 0;
    while (done < out.size() && !empty()) {
      const std::span<const uint8_t> front = Front();
      const size_t n = std::min(front.size(), out.size() - done);
      std::memcpy(out.data() + done, front.data(), n);
      Drop(n);
      done += n;
    }
    return done;
  }
  void Clear() {
    chunks_.clear();
    size_ = 0;
  }

 private:
  static constexpr size_t kChunkBytes = 32 << 10;
  struct Chunk {
    size_t begin = 0;
    size_t end = 0;
    uint8_t bytes[kChunkBytes];
  };
  std::deque<std::unique_ptr<Chunk>> chunks_;
  size_t size_ = 0;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_BYTE_QUEUE_H_
