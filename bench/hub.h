// Hub: a WireGuard program with many peers, which are one process with an
// address for each (hub_peers_main.cc), so that limits by source act as they do
// on the Internet.

#ifndef IM_BENCH_HUB_H_
#define IM_BENCH_HUB_H_

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/process.h"
#include "bench/samples.h"
#include "bench/scenario.h"
#include "bench/tunnel_pair.h"

namespace im::bench {

class Hub {
 public:
  // `number`: of this hub, among those of one run.
  static absl::StatusOr<std::unique_ptr<Hub>> Up(const TunnelProgram& program, int number,
                                                 int peers, const std::string& bin);
  ~Hub();
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  const std::string& name() const { return name_; }
  double ResidentMegabytes() const;

  struct Handshakes {
    double per_second = 0;
    double processor_us = 0;  // of one, at the hub
  };
  // A session with each peer, all anew.
  absl::StatusOr<Handshakes> Connect();

  struct Stream {
    double gigabits_per_s = 0;     // that arrived and were authentic
    double processor_s_per_gb = 0;  // at the hub
  };
  // From all peers in turn, as fast as they can. Preconditions: Connect.
  absl::StatusOr<Stream> Receive(double duration_s);

 private:
  Hub() = default;
  std::string SocketPath() const;
  absl::Status Start(const std::string& program, int number, const std::string& bin);
  // Authentic ones, of all peers.
  absl::StatusOr<double> ReceivedBytes() const;

  std::string name_;
  std::string interface_;
  int peer_count_ = 0;
  std::unique_ptr<TunnelPair> pair_;
  std::unique_ptr<Process> tunnel_;
  std::unique_ptr<Process> peers_;
};

// One hub of each program of TunnelPrograms that can be had; what cannot is said
// to options.skip.
std::vector<std::unique_ptr<Hub>> HubsOfAll(const RunOptions& options, int peers);

}  // namespace im::bench

#endif  // IM_BENCH_HUB_H_
