// Samples of one measured quantity: median, minimum, maximum, percentiles.

#ifndef IM_BENCH_SAMPLES_H_
#define IM_BENCH_SAMPLES_H_

#include <cstddef>
#include <string>
#include <vector>

namespace im::bench {

class Samples {
 public:
  void Add(double value) { values_.push_back(value); }
  size_t count() const { return values_.size(); }
  // Preconditions of all below: count() > 0.
  double Median() const { return Percentile(50); }
  double Min() const { return Percentile(0); }
  double Max() const { return Percentile(100); }
  // 0…100, linear between neighbours.
  double Percentile(double percent) const;

 private:
  std::vector<double> values_;
};

// One row of a result: a way of doing the thing, and what was seen.
struct Row {
  std::string scenario;
  std::string way;   // "im tun-tun", "native veth"
  std::string unit;  // "Gb/s", "us"
  Samples samples;
};

}  // namespace im::bench

#endif  // IM_BENCH_SAMPLES_H_
