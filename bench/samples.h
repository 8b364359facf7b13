// Samples of one measured quantity: median, minimum, maximum, percentiles.

#ifndef IM_BENCH_SAMPLES_H_
#define IM_BENCH_SAMPLES_H_

#include <cstddef>
#include <map>
#include <string>
#include <utility>
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

// Rows of one scenario, in the order in which they first appear.
class Table {
 public:
  explicit Table(const std::string& scenario) : scenario_(scenario) {}
  void Add(const std::string& what, const std::string& way, const std::string& unit,
           double value);
  std::vector<Row> Take() { return std::move(rows_); }

 private:
  const std::string scenario_;
  std::map<std::string, size_t> places_;  // of rows, by what they are called
  std::vector<Row> rows_;
};

}  // namespace im::bench

#endif  // IM_BENCH_SAMPLES_H_
