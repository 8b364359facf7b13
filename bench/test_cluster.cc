#include "bench/test_cluster.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "bench/confinement.h"

namespace im::bench {

absl::StatusOr<std::unique_ptr<TestCluster>> TestCluster::Up(const std::string& bin,
                                                             const std::string& hosts,
                                                             const std::string& network,
                                                             const std::string& cidr) {
  std::unique_ptr<TestCluster> cluster(new TestCluster());
  std::string directory = std::filesystem::temp_directory_path() / "im-bench-XXXXXX";
  if (mkdtemp(directory.data()) == nullptr) return ErrnoStatus("a directory " + directory);
  cluster->directory_ = directory;
  cluster->bin_ = bin;
  cluster->peer_ = bin + "/im-peer";
  // Several may be up at once.
  static int count = 0;
  const std::string name = absl::StrCat(ConfinedClusterPrefix(), ++count);
  cluster->name_ = name;
  cluster->environment_ = {absl::StrCat("IM_STATE_DIR=", directory, "/run"),
                           absl::StrCat("IM_DATA_DIR=", directory, "/data"),
                           absl::StrCat("IM_CLUSTER=", name)};
  const std::string spec = absl::StrCat(directory, "/cluster.yaml");
  std::ofstream(spec) << "name: " << name
                      << "\n"
                         "network: {cidr: "
                      << cidr << network
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

std::vector<std::string> TestCluster::AsGuest(const std::vector<std::string>& argv,
                                             const std::string& attach) const {
  std::vector<std::string> all = {bin_ + "/im", "run", "--attach", attach, "--"};
  all.insert(all.end(), argv.begin(), argv.end());
  return all;
}

absl::StatusOr<Process> TestCluster::Drive(const std::string& attach) const {
  return Process::Start({.argv = AsGuest({peer_, "drive"}, attach), .environment = environment_});
}

absl::StatusOr<int> TestCluster::ImdPid() const {
  int pid = 0;
  if (!(std::ifstream(absl::StrCat(directory_, "/run/", name_, "/lock")) >> pid)) {
    return absl::NotFoundError("imd's lock has no pid");
  }
  return pid;
}

absl::StatusOr<std::vector<TestCluster::Host>> TestCluster::Hosts() {
  IM_ASSIGN_OR_RETURN(const std::string text, Im({"ps", "--json"}));
  const auto all = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!all.is_object() || !all.contains("hosts")) return absl::InternalError("im ps: " + text);
  std::vector<Host> hosts;
  for (const auto& host : all["hosts"]) {
    hosts.push_back({host.value("name", ""), host.value("state", ""), host.value("agent_pid", 0)});
  }
  return hosts;
}

}  // namespace im::bench
