// im down: stops all hosts and ends the cluster.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/daemon.h"
#include "orchestrator/cli/event_view.h"
#include "orchestrator/cli/exit_code.h"

namespace im::orchestrator::cli {
namespace {

// imd has nothing left to do but to exit when its stream has ended.
constexpr Duration kExitTimeout = std::chrono::seconds(20);

int TakeDown(const Context& context, bool force) {
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  const auto cluster = client->GetCluster();
  if (!cluster.ok()) return Fail(cluster.status());
  const auto hosts = client->ListHosts();
  if (!hosts.ok()) return Fail(hosts.status());
  grpc::ClientContext call;
  proto::DownRequest request;
  request.set_force(force);
  const auto stream = client->stub().Down(&call, request);
  EventPrinter printer(HostWidth(*hosts), context.terminal);
  proto::Event event;
  while (stream->Read(&event)) printer.Print(event);
  const absl::Status status = FromGrpc(stream->Finish());
  // A stream that breaks because imd has ended is a success too.
  if (!status.ok() && !absl::IsUnavailable(status)) return Fail(status);
  if (!WaitForExit(static_cast<pid_t>(cluster->pid()), kExitTimeout)) {
    PrintError(absl::StrCat("imd (pid ", cluster->pid(), ") still runs; its log: ",
                            DaemonLog(client->state_directory())));
    return kExitFailure;
  }
  std::puts(absl::StrCat(cluster->name(), ": ended").c_str());
  return kExitOk;
}

}  // namespace

void AddDown(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("down", "Stop all hosts and end the cluster");
  auto force = std::make_shared<bool>(false);
  verb->add_flag("--force", *force, "Kill at once: no stop signal, no grace period");
  verb->callback([&context, force] {
    context.run = [&context, force] { return TakeDown(context, *force); };
  });
}

}  // namespace im::orchestrator::cli
