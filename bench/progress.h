// Progress of a run: a bar, what is being done, and the time that is left.
//
// Each scenario says roughly how long it will take; how much longer it does take
// here is learned on the way, and the rest is expected to differ by as much.

#ifndef IM_BENCH_PROGRESS_H_
#define IM_BENCH_PROGRESS_H_

#include <string>
#include <vector>

#include "base/clock.h"

namespace im::bench {

class Progress {
 public:
  struct Part {
    std::string name;
    double expected_s = 1;
  };

  // Preconditions: every expectation is above 0.
  Progress(std::vector<Part> parts, Instant now);

  // `part` begins; all before it are over, however they ended.
  void Begin(size_t part);
  // The part that has begun is done to this share (0 to 1).
  void Set(double share, const std::string& doing);

  double share() const;  // of all, by what was expected
  double SecondsLeft(Instant now) const;
  // "[####............] 25 %  tunnel: im-tunnel, about 2 min left"
  std::string Line(Instant now) const;

 private:
  double ExpectedSoFar() const;

  std::vector<Part> parts_;
  const Instant began_;
  double expected_all_ = 0;
  double expected_before_ = 0;  // of the parts that are over
  size_t part_ = 0;
  double part_share_ = 0;
  std::string doing_;
};

}  // namespace im::bench

#endif  // IM_BENCH_PROGRESS_H_
