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
                                                         const std::string& network = "");
  ~TestCluster();  // im down

  absl::StatusOr<std::string> Im(const std::vector<std::string>& arguments);
  // A host that joins for as long as the process lives: im-peer drive.
  absl::StatusOr<Process> Drive();
  const std::string& peer() const { return peer_; }

 private:
  TestCluster() = default;
  std::string bin_;
  std::string peer_;
  std::string directory_;
  std::vector<std::string> environment_;
};

}  // namespace im::bench

#endif  // IM_BENCH_TEST_CLUSTER_H_
