// Throughput, and what it took: every scenario that has one tells the same of it.

#ifndef IM_BENCH_THROUGHPUT_H_
#define IM_BENCH_THROUGHPUT_H_

#include <string>

#include "bench/samples.h"

namespace im::bench {

struct Throughput {
  double gigabits_per_s = 0;  // that arrived, both directions together
  double gigabytes = 0;
  double lost_percent = 0;  // of datagrams
  // Processor time of the whole machine meanwhile: both ends, who carries it, and
  // the kernel's own work.
  double machine_s = 0;
  double iperf3_s = 0;          // of that, both its ends', if it was the load
  double resident_megabytes = 0;  // the largest of the programs that carry it; 0: the kernel does

  // Three rows: the rate in `unit` ("Gb/s" or "Mb/s"), the machine's processor time
  // for a gigabyte, and the memory if there is one.
  // Preconditions: something arrived.
  void AddTo(Table& table, const std::string& what, const std::string& way,
             const std::string& unit = "Gb/s") const;
};

}  // namespace im::bench

#endif  // IM_BENCH_THROUGHPUT_H_
