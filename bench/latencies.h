// Latencies: how long each of many trips took, in a histogram, and the three
// percentiles that are told of every latency.
//
// The histogram is Boost.Histogram's with bins that grow by 0.1 %, so a percentile
// is off by half of that at most. It tells what so large a share of the trips took
// at the most; of fewer than 1,000 trips p99.9 is the longest.

#ifndef IM_BENCH_LATENCIES_H_
#define IM_BENCH_LATENCIES_H_

#include <memory>
#include <string>

#include "base/status.h"
#include "bench/process.h"
#include "bench/samples.h"

namespace im::bench {

struct Percentiles {
  double p50_us = 0;
  double p99_us = 0;
  double p999_us = 0;

  // Three rows; `what` goes before "p50", "p99" and "p99.9".
  void AddTo(Table& table, const std::string& what, const std::string& way) const;
};

class Latencies {
 public:
  Latencies();
  ~Latencies();
  Latencies(Latencies&&) noexcept;
  Latencies& operator=(Latencies&&) noexcept;

  // In microseconds. Beyond 0.1 us to 100 s only the least and the most are known.
  void Add(double us);
  // Preconditions: Add was called.
  Percentiles Get() const;

 private:
  struct Histogram;
  double Percentile(size_t per_mille) const;

  std::unique_ptr<Histogram> histogram_;
  size_t count_ = 0;
  double min_us_ = 0;
  double max_us_ = 0;
};

// The percentiles of an answer's "trips_us"; an error if there are none in it.
absl::StatusOr<Percentiles> PercentilesOfAnswer(const std::string& answer);

// Of `count` trips that a program (im-peer, im-embedded-peer) is told to make. They
// may take 10 ms each, and kAnswerTimeout besides.
absl::StatusOr<Percentiles> AskTrips(Process& peer, const std::string& command, int count);

}  // namespace im::bench

#endif  // IM_BENCH_LATENCIES_H_
