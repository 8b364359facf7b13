// Two network namespaces joined by a veth pair, and a tunnel between them: a
// program that speaks WireGuard in each, or none (the ceiling).

#ifndef IM_BENCH_TUNNEL_PAIR_H_
#define IM_BENCH_TUNNEL_PAIR_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "bench/process.h"
#include "bench/scenario.h"

namespace im::bench {

// Name and path: im-tunnel, and what it is compared with: wireguard-go, or what
// IM_BENCH_WIREGUARD_GO names; it is left out where it cannot be found, or is
// not wanted.
std::vector<std::pair<std::string, std::string>> TunnelPrograms(const RunOptions& options);

class TunnelPair {
 public:
  // `program`: a userspace WireGuard with wireguard-go's command line; empty:
  // the plain veth pair. `number`: of this pair, among those of one run.
  // `peer`: im-peer. Needs `wg`.
  static absl::StatusOr<std::unique_ptr<TunnelPair>> Up(const std::string& program, int number,
                                                        const std::string& peer);
  ~TunnelPair();

  // Where the other end is, seen from the near one.
  const std::string& server() const { return server_; }
  // The near end, outside of any tunnel.
  static const char* client();
  // `argv` run at an end; what a server at the far one writes is not kept.
  std::vector<std::string> AtNear(const std::vector<std::string>& argv) const;
  std::vector<std::string> AtFar(const std::vector<std::string>& argv) const;
  absl::StatusOr<Process> StartFar(const std::vector<std::string>& argv) const;
  // Until a server at the far end listens.
  absl::Status AwaitListener(int tcp_port) const;

  bool has_tunnels() const { return !tunnels_.empty(); }
  std::vector<pid_t> TunnelPids() const;
  // Processor time of both tunnels' programs so far.
  double CpuSeconds() const;
  // The larger one's resident memory.
  double ResidentMegabytes() const;

 private:
  TunnelPair() = default;
  absl::Status Join(int number);
  absl::Status StartTunnels(const std::string& program, int number);

  std::string server_;
  std::vector<Process> ends_;  // hold the namespaces: near, far
  std::vector<Process> tunnels_;
  std::vector<std::string> sockets_;  // that the programs leave behind
};

}  // namespace im::bench

#endif  // IM_BENCH_TUNNEL_PAIR_H_
