// The ways that data-plane scenarios compare: a client and a server, joined by
// Imaginary Machines in several manners, by a userspace WireGuard, or by a plain
// veth pair. All are up at once, so that measurements can be interleaved.
//
//   im tun-tun              two hosts with TUN devices, the path's own MTU
//   im tun-tun, MTU 1420    the same with the MTU of a WireGuard interface
//   im tun-netstack         the server without privileges, on lwIP
//   im netstack-netstack    both
//   im published port       a client outside, through imd (TCP only)
//   wireguard-go, boringtun, gotatun, kernel WireGuard, MTU 1420
//                           where they are installed
//   embedded, wireguard-go netstack
//                           programs with the stack and the tunnel linked in, MTU
//                           1420; they are the client and the server as well
//   slirp4netns, pasta      rootless containers' networks, where they are
//                           installed: not encrypted, MTU 65,520
//   veth, not encrypted     the ceiling of all between two namespaces
//
// At the server: iperf3's, and im-peer's echo, sink and UDP echo.

#ifndef IM_BENCH_WAYS_H_
#define IM_BENCH_WAYS_H_

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/embedded_pair.h"
#include "bench/namespace_pair.h"
#include "bench/process.h"
#include "bench/scenario.h"
#include "bench/test_cluster.h"

namespace im::bench {

inline constexpr int kEchoPort = 7001;
inline constexpr int kSinkPort = 7002;
inline constexpr int kUdpPort = 7003;

class Way {
 public:
  const std::string& name() const { return name_; }
  // Where the server is, as the client sees it: a name or an address.
  const std::string& server() const { return server_; }
  bool has_udp() const { return has_udp_; }
  // The programs of an embedded way, which speak a language of their own
  // (embedded_peer_main.cc); of others null. There Run and Drive are not to be had.
  Embedded* embedded() const { return embedded_; }

  // A command at the client's place; its standard output.
  absl::StatusOr<std::string> Run(const std::vector<std::string>& argv, Duration timeout) const;
  // im-peer drive there.
  absl::StatusOr<Process> Drive() const;
  // The most that any process of the network (agents, tunnels) has resident;
  // 0: the network is the kernel.
  double ResidentMegabytes() const;

 private:
  friend class Ways;
  std::string name_;
  std::string server_;
  bool has_udp_ = true;
  Embedded* embedded_ = nullptr;
  std::string peer_;                      // im-peer
  std::vector<std::string> place_;        // goes before a command
  std::vector<std::string> environment_;  // of such a command
  std::function<std::vector<pid_t>()> network_;
};

class Ways {
 public:
  // A further server at each far end.
  struct Server {
    std::string command;  // for sh, without double quotes
    int port;             // TCP
  };
  // Brings all up that can be; says to options.skip which cannot, and why. With
  // further servers there are no embedded ways, as no other program runs there.
  static absl::StatusOr<std::unique_ptr<Ways>> Up(const RunOptions& options,
                                                  const std::vector<Server>& servers = {});

  // Each measurement of each way in turn, options.repeat times. A way whose
  // measurement fails is left out from then on, and options.skip told.
  void Measure(const RunOptions& options, Table& table,
               const std::function<absl::Status(const Way&, Table&)>& measure);

 private:
  explicit Ways(const std::vector<Server>& servers) : extra_servers_(servers) {}
  // All servers as the program of one host.
  std::string HostCommand(const std::string& peer) const;
  absl::Status AddCluster(const RunOptions& options, const std::string& network,
                          const std::string& suffix, bool all);
  void AddTunnels(const RunOptions& options);
  void AddUserNetworks(const RunOptions& options);
  void AddVeth(const RunOptions& options);
  void AddEmbedded(const RunOptions& options);
  // Starts the servers at the far end. What fails is said.
  void AddPair(const RunOptions& options, const std::string& name,
               absl::StatusOr<std::unique_ptr<NamespacePair>> made);
  absl::Status StartServers(const NamespacePair& pair, const std::string& peer);
  // Until the server answers over it.
  void Add(const RunOptions& options, Way way);

  const std::vector<Server> extra_servers_;
  std::vector<Way> ways_;
  std::vector<std::unique_ptr<TestCluster>> clusters_;
  std::vector<std::unique_ptr<NamespacePair>> pairs_;
  std::vector<std::unique_ptr<Embedded>> embedded_;
  std::vector<Process> servers_;
};

}  // namespace im::bench

#endif  // IM_BENCH_WAYS_H_
