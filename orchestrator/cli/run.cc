// im run -- COMMAND: a program of this machine, inside the cluster's network
// for as long as it runs. It sees the hosts by name; its packets wake them.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/guest.h"
#include "orchestrator/cli/preflight.h"
#include "orchestrator/cli/signal_relay.h"

namespace im::orchestrator::cli {
namespace {

struct RunOptions {
  std::string name;
  std::string attach = "auto";
  std::vector<std::string> command;
};

// How the program gets its network; nullopt: said why it cannot.
std::optional<proto::Attach> ChooseAttachment(const std::string& wanted) {
  if (wanted == "netstack") return proto::ATTACH_NETSTACK;
  if (!ExplainPreflight(TryMachine())) return proto::ATTACH_TUN;
  if (wanted == "auto") return proto::ATTACH_NETSTACK;
  PrintError("attach: tun takes namespaces and a TUN device, which only root may make here; run "
             "this with sudo, or without --attach tun");
  return std::nullopt;
}

// Gives the exit code.
int RunGuest(const proto::JoinReply& reply, proto::Attach attach, const RunOptions& options,
             SignalRelay& signals) {
  proto::StartRequest request;
  if (!request.ParseFromString(reply.start_request())) {
    PrintError("imd's start request is not understood: are im and imd of one version?");
    return kExitFailure;
  }
  const absl::Status filled = FillGuestProgram(options.command, *request.mutable_program());
  if (!filled.ok()) return Fail(filled);
  request.clear_log_path();
  request.set_attach(attach);
  OwnDirectory directory;
  if (access(request.instance_dir().c_str(), W_OK) != 0) {
    const auto made = directory.Make();
    if (!made.ok()) return Fail(made.status());
    request.set_instance_dir(*made);
  }
  const char* agent = std::getenv("IM_AGENT");
  const auto pid = StartGuestAgent(
      agent != nullptr ? agent : absl::StrCat(ProgramDirectory(), "/im-agent"), request, signals);
  return pid.ok() ? WaitForGuest(*pid, signals) : Fail(pid.status());
}

int Run(const Context& context, const RunOptions& options) {
  if (options.command.empty()) {
    PrintError("no command; write: im run -- COMMAND");
    return kExitBadInput;
  }
  SignalRelay signals;
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  const std::optional<proto::Attach> attach = ChooseAttachment(options.attach);
  if (!attach) return kExitNotPermitted;
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
  const int code = RunGuest(reply, *attach, options, signals);
  call.TryCancel();
  stream->Finish();
  return code;
}

}  // namespace

void AddRun(CLI::App& app, Context& context) {
  CLI::App* verb =
      app.add_subcommand("run", "Run a program inside the cluster's network: im run -- COMMAND");
  auto options = std::make_shared<RunOptions>();
  verb->add_option("--name", options->name,
                   "Its name in the network, by which hosts find it while it runs; nobody\n"
                   "else's. Default: run-1, run-2, ...");
  verb->add_option("--attach", options->attach,
                   "How it gets the network: tun, as root alone may; netstack, as anybody\n"
                   "may; auto is tun where it is permitted")
      ->check(CLI::IsMember({"auto", "tun", "netstack"}));
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
