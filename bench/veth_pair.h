// The ceiling: a server in a network namespace of its own, joined to ours by a
// veth pair, nothing in between.

#ifndef IM_BENCH_VETH_PAIR_H_
#define IM_BENCH_VETH_PAIR_H_

#include <string>
#include <vector>

#include "base/status.h"
#include "bench/process.h"

namespace im::bench {

// TEST-NET-1 (RFC 5737): the two ends of the pair.
inline constexpr char kVethClient[] = "192.0.2.1";
inline constexpr char kVethServer[] = "192.0.2.2";

// Starts `argv` behind a veth pair. The pair goes with the process.
// Preconditions: the caller is in a network namespace made for the purpose.
absl::StatusOr<Process> StartBehindVeth(const std::vector<std::string>& argv);

}  // namespace im::bench

#endif  // IM_BENCH_VETH_PAIR_H_
