// Deadlines in order, without a clock and without IO.
//
// A binary heap with lazy removal: cancelling marks, firing skips the marked.
// When more than half of the heap is marked it is rebuilt, so memory stays
// proportional to the live timers.

#ifndef IM_BASE_TIMER_QUEUE_H_
#define IM_BASE_TIMER_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/clock.h"

namespace im {

// Not thread-safe. Callbacks may add and cancel timers, also their own.
class TimerQueue {
 public:
  using Id = uint64_t;  // never 0

  TimerQueue() = default;
  ~TimerQueue() { Clear(); }
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;

  Id Add(Instant deadline, std::function<void()> callback);
  // False if it fired or was cancelled before.
  bool Cancel(Id id);
  void Clear();

  // kNever if there is none.
  Instant NextDeadline();

  // Runs all callbacks due at `now`, earliest first, ties in order of Add.
  // Timers added meanwhile run at the next call even if already due.
  void RunDue(Instant now);

  size_t size() const { return callbacks_.size(); }

 private:
  struct Entry {
    Instant deadline;
    Id id;
  };
  static bool Later(const Entry& a, const Entry& b);
  void DropCancelled();

  std::vector<Entry> heap_;
  std::vector<Entry> due_;  // RunDue's, kept for its capacity
  absl::flat_hash_map<Id, std::function<void()>> callbacks_;
  Id next_id_ = 1;
};

}  // namespace im

#endif  // IM_BASE_TIMER_QUEUE_H_
