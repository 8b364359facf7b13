#include "bench/veth_pair.h"

#include "absl/strings/str_cat.h"

namespace im::bench {

absl::StatusOr<Process> StartBehindVeth(const std::vector<std::string>& argv) {
  IM_ASSIGN_OR_RETURN(Process server, Process::Start({.argv = argv,
                                                      .new_network = true,
                                                      .wait_for_go = true,
                                                      .discard_output = true}));
  const std::string pid = absl::StrCat(server.pid());
  const std::vector<std::vector<std::string>> commands = {
      {"ip", "link", "add", "imv0", "type", "veth", "peer", "name", "imv1", "netns", pid},
      {"ip", "addr", "add", absl::StrCat(kVethClient, "/24"), "dev", "imv0"},
      {"ip", "link", "set", "imv0", "up"},
      {"nsenter", "-t", pid, "-n", "ip", "addr", "add", absl::StrCat(kVethServer, "/24"), "dev",
       "imv1"},
      {"nsenter", "-t", pid, "-n", "ip", "link", "set", "imv1", "up"},
  };
  for (const auto& command : commands) IM_RETURN_IF_ERROR(RunCommand(command).status());
  server.Go();
  return server;
}

}  // namespace im::bench
