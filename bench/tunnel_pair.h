// Two network namespaces joined by a veth pair, and a tunnel between them: a
// program that speaks WireGuard in each, or none (the ceiling).

#ifndef IM_BENCH_TUNNEL_PAIR_H_
#define IM_BENCH_TUNNEL_PAIR_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "bench/namespace_pair.h"
#include "bench/scenario.h"

namespace im::bench {

// What carries a tunnel: its name, and a program with wireguard-go's command
// line, or kKernelWireguard.
using TunnelProgram = std::pair<std::string, std::string>;
inline constexpr char kKernelWireguard[] = "(kernel)";

// im-tunnel, and what it is compared with: wireguard-go, boringtun, gotatun (in
// $PATH, or where IM_BENCH_WIREGUARD_GO, IM_BENCH_BORINGTUN and IM_BENCH_GOTATUN
// say), and the kernel's WireGuard. What is wanted and cannot be had is said to
// options.skip.
std::vector<TunnelProgram> TunnelPrograms(const RunOptions& options);

class TunnelPair : public NamespacePair {
 public:
  // `program`: as in TunnelProgram; empty: the plain veth pair. `number`: of this pair, among those of one run.
  // `peer`: im-peer. Needs `wg`.
  static absl::StatusOr<std::unique_ptr<TunnelPair>> Up(const std::string& program, int number,
                                                        const std::string& peer);
  ~TunnelPair() override;

  // The near end, outside of any tunnel.
  static const char* client();

 private:
  TunnelPair() = default;
  absl::Status Join(int number);
  absl::Status StartTunnels(const std::string& program, int number);
  // One end's device. `name`: of the device, in all namespaces of the run.
  absl::Status StartTunnel(const std::string& program, int end, const std::string& name);

  std::vector<std::string> sockets_;  // that the programs leave behind
};

}  // namespace im::bench

#endif  // IM_BENCH_TUNNEL_PAIR_H_
