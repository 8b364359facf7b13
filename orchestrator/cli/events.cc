// im events: what happened, and with -f what happens.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/event_view.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/json.h"

namespace im::orchestrator::cli {
namespace {

struct EventsOptions {
  std::vector<std::string> hosts;
  bool follow = false;
  bool json = false;
  uint32_t newest = 0;
};

int Run(const Context& context, const EventsOptions& options) {
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  const auto hosts = client->ListHosts(options.hosts);
  if (!hosts.ok()) return Fail(hosts.status());
  grpc::ClientContext call;
  proto::EventsRequest request;
  request.set_follow(options.follow);
  request.set_newest(options.newest);
  if (!options.hosts.empty())
    for (const proto::HostInfo& host : *hosts) request.add_names(host.name());
  const auto stream = client->stub().Events(&call, request);
  EventPrinter printer(HostWidth(*hosts), context.terminal);
  proto::Event event;
  while (stream->Read(&event)) {
    if (options.json) {
      std::puts(ToJson(event).c_str());
      std::fflush(stdout);
    } else {
      printer.Print(event);
    }
  }
  const absl::Status status = FromGrpc(stream->Finish());
  if (options.follow && absl::IsUnavailable(status)) {
    PrintError("the cluster has ended");
    return kExitOk;
  }
  return status.ok() ? kExitOk : Fail(status);
}

}  // namespace

void AddEvents(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("events", "Show what happened, one line each");
  auto options = std::make_shared<EventsOptions>();
  verb->add_option("HOST", options->hosts, "Only of these hosts, or services with replicas");
  verb->add_flag("-f,--follow", options->follow, "Go on with what happens");
  verb->add_option("-n,--newest", options->newest, "Only so many of the past ones; 0: all")
      ->check(CLI::NonNegativeNumber);
  verb->add_flag("--json", options->json, "As JSON, one object in a line");
  verb->callback([&context, options] {
    context.run = [&context, options] { return Run(context, *options); };
  });
}

}  // namespace im::orchestrator::cli
