// im run -- COMMAND: a program of this machine, inside the cluster's network
// for as long as it runs. It sees the hosts by name; its packets wake them.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>

#include "absl/strings/str_cat.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/guest.h"
#include "orchestrator/cli/preflight.h"
#include "orchestrator/cli/signal_relay.h"

namespace im::orchestrator::cli {
namespace {

struct Options {
  std::string name;
  std::vector<std::string> command;
};

int Run(const Context& context, const Options& options) {
  if (options.command.empty()) {
    PrintError("no command; write: im run -- COMMAND");
    return kExitBadInput;
  }
  SignalRelay signals;
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  if (geteuid() != 0 && ExplainPreflight(TryMachine())) {
    PrintError("a program that joins the network gets namespaces and a TUN device, which only "
               "root may make here; run this with sudo");
    return kExitNotPermitted;
  }
  // The guest is a member for as long as this stream is open.
  grpc::ClientContext call;
  proto::JoinRequest join;
  join.set_name(options.name);
  for (const std::string& word : options.command) join.add_argv(word);
  const auto stream = client->stub().Join(&call, join);
  proto::JoinReply reply;
  if (!stream->Read(&reply)) {
    const absl::Status status = FromGrpc(stream->Finish());
    return Fail(status.ok() ? absl::InternalError("imd ended the stream") : status);
  }
  int code = kExitFailure;
  proto::StartRequest request;
  if (!request.ParseFromString(reply.start_request())) {
    PrintError("imd's start request is not understood: are im and imd of one version?");
  } else if (const absl::Status filled =
                 FillGuestProgram(options.command, *request.mutable_program());
             !filled.ok()) {
    code = Fail(filled);
  } else {
    request.clear_log_path();
    const char* agent = std::getenv("IM_AGENT");
    const auto pid = StartGuestAgent(
        agent != nullptr ? agent : absl::StrCat(ProgramDirectory(), "/im-agent"), request, signals);
    code = pid.ok() ? WaitForGuest(*pid, signals) : Fail(pid.status());
  }
  call.TryCancel();
  stream->Finish();
  return code;
}

}  // namespace

void AddRun(CLI::App& app, Context& context) {
  CLI::App* verb =
      app.add_subcommand("run", "Run a program inside the cluster's network: im run -- COMMAND");
  auto options = std::make_shared<Options>();
  verb->add_option("--name", options->name, "Its name in the network; default: run-1, run-2, ...");
  verb->footer(
      "The program is one of this machine, with your user, directory and environment; only its\n"
      "network is the cluster's: im run -- redis-cli -h db ping\n"
      "Exits with the program's own code, or 128 and its signal's number; 127 if there is no such\n"
      "program, 125 if it cannot be given its network.");
  verb->callback([&context, options] {
    options->command = context.trailing;
    context.run = [&context, options] { return Run(context, *options); };
  });
}

}  // namespace im::orchestrator::cli
