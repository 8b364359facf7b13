// im wake, im suspend, im release: a state change by hand, waited for.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/host_view.h"

namespace im::orchestrator::cli {
namespace {

enum class Command { kWake, kSuspend, kRelease };

struct HostOptions {
  std::vector<std::string> hosts;
  bool all = false;
};

grpc::Status Call(Client& client, Command command, const std::string& host,
                  proto::HostInfo& reply) {
  grpc::ClientContext call;
  proto::HostRequest request;
  request.set_name(host);
  switch (command) {
    case Command::kSuspend: return client.stub().Suspend(&call, request, &reply);
    case Command::kRelease: return client.stub().Release(&call, request, &reply);
    case Command::kWake: break;
  }
  proto::WakeRequest wake;
  wake.set_name(host);
  wake.set_cause(proto::WakeCause::USER);
  return client.stub().Wake(&call, wake, &reply);
}

int Run(const Context& context, Command command, const HostOptions& options) {
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  std::vector<std::string> names = options.hosts;
  if (options.all) {
    const auto hosts = client->ListHosts();
    if (!hosts.ok()) return Fail(hosts.status());
    for (const proto::HostInfo& host : *hosts) {
      const bool applies = command == Command::kWake
                               ? true
                               : command == Command::kSuspend ? host.state() == "running"
                                                              : host.state() != "imaginary";
      if (applies && !host.guest()) names.push_back(host.name());
    }
  } else if (names.empty()) {
    PrintError("name a host, or --all");
    return kExitBadInput;
  }
  int code = kExitOk;
  for (const std::string& name : names) {
    proto::HostInfo host;
    const absl::Status status = FromGrpc(Call(*client, command, name, host));
    if (!status.ok()) {
      code = Fail(status);
      continue;
    }
    const std::string wake =
        command == Command::kWake ? TextOfWake(host, context.terminal) : std::string();
    std::puts(absl::StrCat(host.name(), " ",
                           context.terminal.Paint(host.state(), ColourOfState(host.state())),
                           wake.empty() ? "" : absl::StrCat(" (", wake, ")"))
                  .c_str());
    std::fflush(stdout);
  }
  return code;
}

void Add(CLI::App& app, Context& context, Command command, const char* name, const char* text) {
  CLI::App* verb = app.add_subcommand(name, text);
  auto options = std::make_shared<HostOptions>();
  verb->add_option("HOST", options->hosts, "The hosts");
  verb->add_flag("--all", options->all, "All hosts of the cluster");
  verb->callback([&context, command, options] {
    context.run = [&context, command, options] { return Run(context, command, *options); };
  });
}

}  // namespace

void AddWake(CLI::App& app, Context& context) {
  Add(app, context, Command::kWake, "wake", "Start or thaw hosts, and wait until they run");
}

void AddSuspend(CLI::App& app, Context& context) {
  Add(app, context, Command::kSuspend, "suspend", "Pause running hosts now; a packet thaws them");
}

void AddRelease(CLI::App& app, Context& context) {
  Add(app, context, Command::kRelease, "release",
      "Stop hosts and free what they hold; a packet starts them anew");
}

}  // namespace im::orchestrator::cli
