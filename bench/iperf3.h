// Throughput by iperf3, whose server runs at the far end of a way.

#ifndef IM_BENCH_IPERF3_H_
#define IM_BENCH_IPERF3_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "bench/namespace_pair.h"
#include "bench/throughput.h"
#include "bench/ways.h"

namespace im::bench {

inline constexpr int kIperf3Port = 5201;  // its default

// `arguments`: further ones of iperf3's client.
absl::StatusOr<Throughput> MeasureThroughput(const Way& way, double duration_s,
                                             const std::vector<std::string>& arguments);
// From the near end to a server at the far one.
absl::StatusOr<Throughput> MeasureThroughput(const NamespacePair& pair, double duration_s,
                                             const std::vector<std::string>& arguments);

}  // namespace im::bench

#endif  // IM_BENCH_IPERF3_H_
