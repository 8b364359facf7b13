// World: virtual time, one seed, and a network that loses, doubles, delays and
// parts what it carries.

#ifndef IM_TESTS_SIMULATION_WORLD_H_
#define IM_TESTS_SIMULATION_WORLD_H_

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

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
  void After(Duration delay, std::function<void()> what) {
    events_.emplace(std::pair(Now() + delay, ++order_), std::move(what));
  }
  Instant NextEvent() const { return events_.empty() ? kNever : events_.begin()->first.first; }
  void RunOne() { events_.extract(events_.begin()).mapped()(); }
  void AdvanceTo(Instant then) {
    if (then > Now()) clock_.Advance(then - Now());
  }

  // ---- the network ----
  Faults faults;
  void Carry(Node from, Node to, const std::function<void()>& arrive) {
    if (Parted(from, to) || Chance(faults.loss)) {
      ++lost_;
      return;
    }
    const int copies = Chance(faults.duplicate) ? 2 : 1;
    for (int i = 0; i < copies; ++i) {
      const Duration way = std::chrono::microseconds(50) +
                           UpTo(Chance(faults.late) ? faults.late_max
                                                    : Duration(std::chrono::milliseconds(2)));
      Instant at = Now() + way;
      if (!faults.reorder) {
        Instant& last = last_arrival_[{from, to}];
        at = last = std::max(at, last);
      }
      events_.emplace(std::pair(at, ++order_), arrive);
    }
  }
  // Nothing passes between the two until Heal.
  void Part(Node a, Node b) { parted_.insert(std::minmax(a, b)); }
  void Heal() { parted_.clear(); }
  bool Parted(Node a, Node b) const { return parted_.contains(std::minmax(a, b)); }
  uint64_t lost() const { return lost_; }

 private:
  SeededRandom random_;
  ManualClock clock_;
  std::map<std::pair<Instant, uint64_t>, std::function<void()>> events_;  // by time, in order
  uint64_t order_ = 0;
  std::map<std::pair<Node, Node>, Instant> last_arrival_;
  std::set<std::pair<Node, Node>> parted_;
  uint64_t lost_ = 0;
};

}  // namespace im::simulation

#endif  // IM_TESTS_SIMULATION_WORLD_H_
