#include "bench/test_cluster.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace im::bench {

absl::StatusOr<std::unique_ptr<TestCluster>> TestCluster::Up(const std::string& bin,
                                                             const std::string& hosts,
                                                             const std::string& network) {
  std::unique_ptr<TestCluster> cluster(new TestCluster());
  char directory[] = "/tmp/im-bench-XXXXXX";
  if (mkdtemp(directory) == nullptr) return ErrnoStatus("mkdtemp");
  cluster->directory_ = directory;
  cluster->bin_ = bin;
  cluster->peer_ = bin + "/im-peer";
  // Several may be up at once.
  static int count = 0;
  const std::string name = absl::StrCat("bench", ++count);
  cluster->environment_ = {absl::StrCat("IM_STATE_DIR=", directory, "/run"),
                           absl::StrCat("IM_CLUSTER=", name)};
  const std::string spec = absl::StrCat(directory, "/cluster.yaml");
  std::ofstream(spec) << "name: " << name
                      << "\n"
                         "network: {cidr: 10.77.0.0/24"
                      << network
                      << "}\n"
                         "defaults: {idle: {after: 1h, release_after: 1h}}\n"
                         "hosts:\n"
                      << hosts;
  IM_RETURN_IF_ERROR(cluster->Im({"up", "-d", spec}).status());
  return cluster;
}

TestCluster::~TestCluster() {
  Im({"down"}).IgnoreError();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

absl::StatusOr<std::string> TestCluster::Im(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {bin_ + "/im"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return RunCommand(argv, environment_);
}

absl::StatusOr<Process> TestCluster::Drive() {
  return Process::Start({.argv = {bin_ + "/im", "run", "--", peer_, "drive"},
                         .environment = environment_});
}

}  // namespace im::bench
