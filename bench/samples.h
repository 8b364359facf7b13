// Samples of one measured quantity: median, minimum, maximum, percentiles.

#ifndef IM_BENCH_SAMPLES_H_
#define IM_BENCH_SAMPLES_H_

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace im::bench {

class Samples {
 public:
  Samples() = default;
  explicit Samples(std::vector<double> values) : values_(std::move(values)) {}
  void Add(double value) { values_.push_back(value); }
  size_t count() const { return values_.size(); }
  // In the order in which they were measured.
  const std::vector<double>& values() const { return values_; }
  // Preconditions of all below: count() > 0.
  double Median() const { return Percentile(50); }
  double Min() const { return Percentile(0); }
  double Max() const { return Percentile(100); }
  // 0…100, linear between neighbours.
  double Percentile(double percent) const;

 private:
  std::vector<double> values_;
};

// One row of a result: what was measured, of which way of doing it, and what was
// seen.
struct Row {
  std::string scenario;
  std::string what;  // "TCP x8", "round trip p50"
  std::string way;   // "im tun-tun", "native veth"
  std::string unit;  // "Gb/s", "us"
  Samples samples;
};

// True for what is a rate: the more the better. Times, memory and processor time
// are the better the less.
bool MoreIsBetter(const std::string& unit);

// Rows that have the same `key`.
struct RowGroup {
  std::string key;
  std::vector<const Row*> rows;
};
// In the order in which the keys first appear.
std::vector<RowGroup> GroupRows(const std::vector<const Row*>& rows,
                                const std::function<std::string(const Row&)>& key);

// Rows of one scenario, in the order in which they first appear.
class Table {
 public:
  explicit Table(const std::string& scenario) : scenario_(scenario) {}
  void Add(const std::string& what, const std::string& way, const std::string& unit,
           double value);
  std::vector<Row> Take() { return std::move(rows_); }

 private:
  const std::string scenario_;
  std::map<std::pair<std::string, std::string>, size_t> places_;  // of rows, by what and way
  std::vector<Row> rows_;
};

}  // namespace im::bench

#endif  // IM_BENCH_SAMPLES_H_
