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

// Where WireGuard listens at both ends.
inline constexpr char kTunnelPort[] = "51820";

// What carries a tunnel: its name, and a program with wireguard-go's command
// line, or kKernelWireguard.
using TunnelProgram = std::pair<std::string, std::string>;
inline constexpr char kKernelWireguard[] = "(kernel)";
// What a tunnel adds to a packet at most: WireGuard over IPv4 60 bytes, and it pads to 16.
inline constexpr int kTunnelBytes = 80;

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
  // The same over an emulated path instead of a veth pair (path_main.cc).
  // `bin`: the folder of im-path and im-peer.
  static absl::StatusOr<std::unique_ptr<TunnelPair>> UpOverPath(const std::string& program,
                                                                int number, const std::string& bin);
  ~TunnelPair() override;

  struct Path {
    Duration round_trip{0};
    int lost_per_million = 0;  // in each direction
    int megabits_per_second = 0;
  };
  // From now on. Preconditions: UpOverPath made it.
  absl::Status SetPath(const Path& path);
  // The MTU of the tunnel's devices, or of the veth pair if there is none; the
  // veth pair carries the tunnel's datagrams whole.
  absl::Status SetMtu(int mtu);

  // The near end, outside of any tunnel.
  static const char* client();

 private:
  TunnelPair() = default;
  absl::Status Finish(const std::string& program, int number);
  absl::Status JoinByVeth(int number);
  absl::Status JoinByPath(int number, const std::string& im_path);
  // Addresses of the devices that join.
  absl::Status AddAddresses();
  absl::Status StartTunnels(const std::string& program, int number);
  // One end's device. `name`: of the device, in all namespaces of the run.
  absl::Status StartTunnel(const std::string& program, int end, const std::string& name);

  std::string outer_[2];  // devices that join, near and far
  std::string inner_[2];  // of the tunnel; empty: there is none
  std::unique_ptr<Process> path_;
  std::vector<std::string> sockets_;  // that the programs leave behind
};

}  // namespace im::bench

#endif  // IM_BENCH_TUNNEL_PAIR_H_
