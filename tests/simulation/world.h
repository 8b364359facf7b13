// World: virtual time, one seed, and a network that loses, doubles, delays and
// parts what it carries.

#ifndef IM_TESTS_SIMULATION_WORLD_H_
#define IM_TESTS_SIMULATION_WORLD_H_

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"

namespace im::simulation {

// Who sends and receives: imd, or an agent by its number.
using Node = uint32_t;
inline constexpr Node kImd = 0;

class World {
 public:
  // In percent.
  struct Faults {
    uint64_t loss = 0;
    uint64_t duplicate = 0;
    uint64_t late = 0;      // up to `late_max`, else up to 2 ms
    bool reorder = false;   // else what goes from one to another arrives in order
    Duration late_max = std::chrono::milliseconds(200);
  };

  explicit World(uint64_t seed) : random_(seed) {}

  const ManualClock& clock() const { return clock_; }
  Instant Now() const { return clock_.Now(); }
  Random& random() { return random_; }
  bool Chance(uint64_t percent) { return percent > 0 && random_.Below(100) < percent; }
  Duration UpTo(Duration max) {
    return Duration(random_.Below(static_cast<uint64_t>(max.count()) + 1));
  }
  // As a machine takes for something small; sometimes it is busy.
  Duration Delay() {
    return Chance(5) ? UpTo(std::chrono::milliseconds(300)) : UpTo(std::chrono::milliseconds(8));
  }

  // ---- time ----
  void After(Duration delay, std::function<void()> what) { At(Now() + delay, std::move(what)); }
  Instant NextEvent() const { return events_.empty() ? kNever : events_.front().at; }
  void RunOne() {
    std::pop_heap(events_.begin(), events_.end(), std::greater<>());
    const std::function<void()> what = std::move(events_.back().what);
    events_.pop_back();
    what();
  }
  void AdvanceTo(Instant then) {
    if (then > Now()) clock_.Advance(then - Now());
  }

  // ---- the network ----
  Faults faults;
  void Carry(Node from, Node to, std::function<void()> arrive) {
    if (Parted(from, to) || Chance(faults.loss)) {
      ++lost_;
      return;
    }
    for (int copies = Chance(faults.duplicate) ? 2 : 1; copies > 0; --copies) {
      const Duration way = std::chrono::microseconds(50) +
                           UpTo(Chance(faults.late) ? faults.late_max
                                                    : Duration(std::chrono::milliseconds(2)));
      Instant at = Now() + way;
      if (!faults.reorder) {
        Instant& last = last_arrival_[{from, to}];
        at = last = std::max(at, last);
      }
      At(at, copies > 1 ? arrive : std::move(arrive));
    }
  }
  // Nothing passes between the two until Heal.
  void Part(Node a, Node b) { parted_.insert(std::minmax(a, b)); }
  void Heal() { parted_.clear(); }
  bool Parted(Node a, Node b) const { return parted_.contains(std::minmax(a, b)); }
  uint64_t lost() const { return lost_; }

 private:
  struct Event {
    Instant at;
    uint64_t order;  // of those at the same time
    std::function<void()> what;
    bool operator>(const Event& other) const {
      return std::tie(at, order) > std::tie(other.at, other.order);
    }
  };
  void At(Instant at, std::function<void()> what) {
    events_.push_back({at, ++order_, std::move(what)});
    std::push_heap(events_.begin(), events_.end(), std::greater<>());
  }

  SeededRandom random_;
  ManualClock clock_;
  std::vector<Event> events_;  // a heap: the next is the first
  uint64_t order_ = 0;
  std::map<std::pair<Node, Node>, Instant> last_arrival_;
  std::set<std::pair<Node, Node>> parted_;
  uint64_t lost_ = 0;
};

}  // namespace im::simulation

#endif  // IM_TESTS_SIMULATION_WORLD_H_
