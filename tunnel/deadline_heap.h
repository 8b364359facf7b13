// DeadlineHeap: the earliest deadline of many owners, each with one.
//
// A binary heap that knows where each owner is, so that a deadline moves in
// O(log n) without a trace of its old value. Owners are small numbers.

#ifndef IM_TUNNEL_DEADLINE_HEAP_H_
#define IM_TUNNEL_DEADLINE_HEAP_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace im::tunnel {

class DeadlineHeap {
 public:
  // kNever removes the owner.
  void Set(uint32_t owner, Instant deadline) {
    if (owner >= where_.size()) where_.resize(owner + 1, kNowhere);
    size_t i = where_[owner];
    if (i == kNowhere) {
      if (deadline == kNever) return;
      i = heap_.size();
      heap_.push_back({deadline, owner});
      where_[owner] = i;
      Up(i);
    } else if (deadline == kNever) {
      Remove(i);
    } else if (deadline != heap_[i].deadline) {
      heap_[i].deadline = deadline;
      Down(Up(i));
    }
  }

  Instant next() const { return heap_.empty() ? kNever : heap_[0].deadline; }
  // Preconditions: next() != kNever.
  uint32_t next_owner() const { return heap_[0].owner; }
  size_t size() const { return heap_.size(); }

 private:
  struct Entry {
    Instant deadline;
    uint32_t owner;
  };
  static constexpr size_t kNowhere = SIZE_MAX;

  void Remove(size_t i) {
    where_[heap_[i].owner] = kNowhere;
    const Entry last = heap_.back();
    heap_.pop_back();
    if (i == heap_.size()) return;
    heap_[i] = last;
    where_[last.owner] = i;
    Down(Up(i));
  }
  void Swap(size_t a, size_t b) {
    std::swap(heap_[a], heap_[b]);
    where_[heap_[a].owner] = a;
    where_[heap_[b].owner] = b;
  }
  size_t Up(size_t i) {
    while (i > 0 && heap_[i].deadline < heap_[(i - 1) / 2].deadline) {
      Swap(i, (i - 1) / 2);
      i = (i - 1) / 2;
    }
    return i;
  }
  void Down(size_t i) {
    while (true) {
      size_t least = i;
      for (size_t child : {2 * i + 1, 2 * i + 2})
        if (child < heap_.size() && heap_[child].deadline < heap_[least].deadline) least = child;
      if (least == i) return;
      Swap(i, least);
      i = least;
    }
  }

  std::vector<Entry> heap_;
  std::vector<size_t> where_;  // by owner
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_DEADLINE_HEAP_H_
