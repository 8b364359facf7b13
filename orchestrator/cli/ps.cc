// im ps: the host table.

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/host_view.h"
#include "orchestrator/cli/json.h"

namespace im::orchestrator::cli {
namespace {

struct PsOptions {
  std::vector<std::string> hosts;
  bool json = false;
  bool quiet = false;
  bool drops = false;
};

int Run(const Context& context, const PsOptions& options) {
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  const auto hosts = client->ListHosts(options.hosts, /*fresh=*/!options.quiet);
  if (!hosts.ok()) return Fail(hosts.status());
  if (options.quiet) {
    for (const proto::HostInfo& host : *hosts) {
      if (host.state() != "imaginary") std::puts(host.name().c_str());
    }
    return kExitOk;
  }
  if (!options.json && !options.drops) {
    std::fputs(HostTable(*hosts, RealClock().UnixNanos(), context.terminal).c_str(), stdout);
    return kExitOk;
  }
  const auto cluster = client->GetCluster();
  if (!cluster.ok()) return Fail(cluster.status());
  if (!options.json) {
    std::fputs(DropTable(*cluster, *hosts, context.terminal).c_str(), stdout);
    return kExitOk;
  }
  std::vector<std::string> items;
  for (const proto::HostInfo& host : *hosts) items.push_back(ToJson(host));
  std::puts(absl::StrCat("{\"cluster\":", ToJson(*cluster), ",\"hosts\":[",
                         absl::StrJoin(items, ","), "]}")
                .c_str());
  return kExitOk;
}

}  // namespace

void AddPs(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("ps", "Show all hosts: state, why each last woke, memory");
  auto options = std::make_shared<PsOptions>();
  verb->add_option("HOST", options->hosts, "Only these hosts, or services with replicas");
  verb->add_flag("--json", options->json, "As JSON: {cluster, hosts}");
  verb->add_flag("-q,--quiet", options->quiet, "Only the names of the hosts that have an instance");
  verb->add_flag("--drops", options->drops,
                 "Instead: what the tunnels of the gateway and of the hosts dropped, by reason");
  verb->footer(
      "LAST WAKE  the packet or command that last woke the host\n"
      "TOOK       cold: started anew; thaw: resumed from a pause; and how long that took\n"
      "NEXT       when it pauses or is released, or what keeps it up");
  verb->callback([&context, options] {
    context.run = [&context, options] { return Run(context, *options); };
  });
}

}  // namespace im::orchestrator::cli
