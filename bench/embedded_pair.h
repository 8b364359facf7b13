// Two programs with a TCP/IP stack and a tunnel linked in, at the ends of a pair
// of namespaces: im-embedded-peer, and what speaks its language.

#ifndef IM_BENCH_EMBEDDED_PAIR_H_
#define IM_BENCH_EMBEDDED_PAIR_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "bench/process.h"
#include "bench/scenario.h"
#include "bench/throughput.h"
#include "bench/tunnel_pair.h"

namespace im::bench {

struct Embedded {
  std::string name;
  std::unique_ptr<TunnelPair> pair;
  std::vector<Process> peers;  // near, far

  std::vector<pid_t> Pids() const;
  // Of both.
  double CpuSeconds() const;
  // The larger one's.
  double ResidentMegabytes() const;
};

// Their names and paths: ours; the one that IM_BENCH_EMBEDDED_OTHER names (of an
// older build, for a comparison within one run); wireguard-go's netstack mode,
// where bench/peers/build has built netstack-go beside im-bench or
// IM_BENCH_NETSTACK_GO names it. What is wanted and missing is said to
// options.skip.
std::vector<std::pair<std::string, std::string>> EmbeddedPrograms(const RunOptions& options);

// `pair`: without a tunnel of its own. `mtu`: of the tunnel, in bytes, whose datagrams the
// pair will carry whole; none: the program's own, 1420.
absl::StatusOr<Embedded> StartEmbedded(const std::string& name, const std::string& program,
                                       std::unique_ptr<TunnelPair> pair,
                                       std::optional<int> mtu = std::nullopt);

enum class Direction {
  kUp,  // from the near one to the far one
  kDown,
  kBoth,  // at once; the throughput is of both together
};

// So many flows at once in each direction.
absl::StatusOr<Throughput> StreamEmbedded(Embedded& way, int flows, double duration_s,
                                          Direction direction = Direction::kUp);

// Datagrams of `payload_bytes` from the near one to the far one, `megabits_per_s` of
// payload; 0: as fast as the near one can.
absl::StatusOr<Throughput> SendEmbeddedDatagrams(Embedded& way, int payload_bytes,
                                                 int megabits_per_s, double duration_s);

// A command and its answer (embedded_peer_main.cc); an error if it is one.
absl::StatusOr<nlohmann::json> Ask(Process& peer, const std::string& command);

}  // namespace im::bench

#endif  // IM_BENCH_EMBEDDED_PAIR_H_
