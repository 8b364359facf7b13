// A cluster brought up by `im`, for as long as the object lives.

#ifndef IM_BENCH_TEST_CLUSTER_H_
#define IM_BENCH_TEST_CLUSTER_H_

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/process.h"

namespace im::bench {

class TestCluster {
 public:
  // `hosts`: the hosts section of a cluster.yaml, indented by two.
  // `bin`: the folder of im, imd, im-agent and im-peer.
  // `network`: further fields of it, each with a comma before.
  static absl::StatusOr<std::unique_ptr<TestCluster>> Up(const std::string& bin,
                                                         const std::string& hosts,
                                                         const std::string& network = "",
                                                         const std::string& cidr = "10.77.0.0/24");
  static constexpr char kLargeNetwork[] = "10.64.0.0/12";
  ~TestCluster();  // im down

  absl::StatusOr<std::string> Im(const std::vector<std::string>& arguments);
  // The command line of a program that joins for as long as it runs; to be
  // started with environment(). `attach`: auto, tun or netstack.
  std::vector<std::string> AsGuest(const std::vector<std::string>& argv,
                                   const std::string& attach = "auto") const;
  const std::vector<std::string>& environment() const { return environment_; }
  // im-peer drive, as such a guest.
  absl::StatusOr<Process> Drive(const std::string& attach = "auto") const;

  struct Host {
    std::string name, state;
    int agent_pid = 0;  // 0: it has none
  };
  absl::StatusOr<int> ImdPid() const;
  // What `im ps` says, guests too.
  absl::StatusOr<std::vector<Host>> Hosts();
  const std::string& peer() const { return peer_; }

 private:
  TestCluster() = default;
  std::string bin_;
  std::string name_;
  std::string peer_;
  std::string directory_;
  std::vector<std::string> environment_;
};

}  // namespace im::bench

#endif  // IM_BENCH_TEST_CLUSTER_H_
