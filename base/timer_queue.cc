#include "base/timer_queue.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace im {
namespace {

// Below this size cancelled entries are not worth a rebuild.
constexpr size_t kRebuildMinEntries = 64;

}  // namespace

void TimerQueue::Clear() {
  // One by one: what a callback owns may cancel other timers as it dies.
  while (!callbacks_.empty()) Cancel(callbacks_.begin()->first);
}

bool TimerQueue::Later(const Entry& a, const Entry& b) {
  return a.deadline != b.deadline ? a.deadline > b.deadline : a.id > b.id;
}

TimerQueue::Id TimerQueue::Add(Instant deadline, std::function<void()> callback) {
  IM_CHECK(callback != nullptr);
  const Id id = next_id_++;
  callbacks_.emplace(id, std::move(callback));
  heap_.push_back({deadline, id});
  std::push_heap(heap_.begin(), heap_.end(), Later);
  return id;
}

bool TimerQueue::Cancel(Id id) {
  const auto it = callbacks_.find(id);
  if (it == callbacks_.end()) return false;
  const std::function<void()> dying = std::move(it->second);
  callbacks_.erase(it);
  if (heap_.size() > kRebuildMinEntries && heap_.size() > 2 * callbacks_.size()) DropCancelled();
  return true;
}

void TimerQueue::DropCancelled() {
  std::erase_if(heap_, [this](const Entry& e) { return !callbacks_.contains(e.id); });
  std::make_heap(heap_.begin(), heap_.end(), Later);
}

Instant TimerQueue::NextDeadline() {
  while (!heap_.empty() && !callbacks_.contains(heap_.front().id)) {
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    heap_.pop_back();
  }
  return heap_.empty() ? kNever : heap_.front().deadline;
}

void TimerQueue::RunDue(Instant now) {
  if (heap_.empty() || heap_.front().deadline > now) return;
  // Taken out first, so that what the callbacks add waits for the next call.
  std::vector<Entry> due = std::move(due_);
  due.clear();
  while (!heap_.empty() && heap_.front().deadline <= now) {
    due.push_back(heap_.front());
    std::pop_heap(heap_.begin(), heap_.end(), Later);
    heap_.pop_back();
  }
  for (const Entry& entry : due) {
    const auto it = callbacks_.find(entry.id);
    if (it == callbacks_.end()) continue;  // cancelled, maybe by one before it
    const std::function<void()> callback = std::move(it->second);
    callbacks_.erase(it);
    callback();
  }
  due_ = std::move(due);
}

}  // namespace im
