// EventLog: what happened, numbered, the newest kEventsMax kept; and the one
// function that turns an event into the line that people read.

#ifndef IM_ORCHESTRATOR_EVENT_LOG_H_
#define IM_ORCHESTRATOR_EVENT_LOG_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/strings/string_view.h"
#include "proto/api.pb.h"

namespace im::orchestrator {

// "12:03:04.512  db   imaginary → starting   SYN from app:43512 to :6379", in
// local time, without a newline. `host_width`: columns that host names are
// padded to.
std::string EventLine(const proto::Event& event, size_t host_width);

// True if the event is of one of the hosts, or none are named.
bool EventConcerns(const proto::Event& event, const std::vector<std::string>& hosts);

// Owned by the loop's thread.
class EventLog {
 public:
  // Kept events: some hours of a busy cluster, 2 to 3 MB.
  static constexpr size_t kEventsMax = 10'000;

  using Subscriber = std::function<void(const proto::Event&)>;
  using SubscriptionId = uint64_t;

  explicit EventLog(size_t events_max = kEventsMax) : events_max_(events_max) {}

  // Numbers the event, keeps it, tells the subscribers.
  void Append(proto::Event event);

  // Kept events of the hosts (none named: all), oldest first, at most `newest`
  // of them (0: all).
  std::vector<proto::Event> Newest(const std::vector<std::string>& hosts, size_t newest) const;

  // Kept events that came after this one, oldest first, at most `max` of them.
  template <typename F>
  void ForEachAfter(uint64_t sequence, size_t max, F f) const {
    // Their numbers have no gaps.
    const uint64_t first = last_sequence_ - events_.size() + 1;
    for (size_t i = sequence < first ? 0 : sequence - first + 1; i < events_.size() && max > 0;
         ++i, --max)
      f(events_[i]);
  }

  // `subscriber` may append, subscribe and unsubscribe.
  SubscriptionId Subscribe(Subscriber subscriber);
  void Unsubscribe(SubscriptionId id);

  size_t size() const { return events_.size(); }
  uint64_t last_sequence() const { return last_sequence_; }
  size_t subscribers() const { return subscribers_.size(); }

 private:
  const size_t events_max_;
  uint64_t last_sequence_ = 0;
  std::deque<proto::Event> events_;
  absl::btree_map<SubscriptionId, std::shared_ptr<Subscriber>> subscribers_;
  SubscriptionId next_subscription_ = 1;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_EVENT_LOG_H_
