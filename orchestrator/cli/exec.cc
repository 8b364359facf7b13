// im exec HOST -- COMMAND: a program inside a host, beside its own. Wakes the
// host; while the program runs the host is not paused.

#include <poll.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "absl/strings/str_cat.h"
#include "orchestrator/cli/agent_socket.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/signal_relay.h"
#include "orchestrator/spec/shell_split.h"

namespace im::orchestrator::cli {
namespace {

struct ExecOptions {
  std::string host;
  std::vector<std::string> environment;
  std::string working_directory;
  std::vector<std::string> command;
};

absl::StatusOr<proto::ExecRequest> MakeRequest(const ExecOptions& options) {
  proto::ExecRequest request;
  for (const std::string& word : options.command) request.add_argv(word);
  if (const char* term = std::getenv("TERM"); term != nullptr) {
    (*request.mutable_environment())["TERM"] = term;
  }
  for (const std::string& variable : options.environment) {
    const size_t equals = variable.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(absl::StrCat("-e ", variable, ": expected NAME=VALUE"));
    }
    (*request.mutable_environment())[variable.substr(0, equals)] = variable.substr(equals + 1);
  }
  request.set_working_dir(options.working_directory);
  request.set_inherit_user(true);
  return request;
}

int Run(const Context& context, const ExecOptions& options) {
  if (options.command.empty()) {
    PrintError("no command; write: im exec HOST -- COMMAND");
    return kExitBadInput;
  }
  const auto request = MakeRequest(options);
  if (!request.ok()) return Fail(request.status());
  SignalRelay signals;
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  if (const absl::Status may = client->MayReachHosts(); !may.ok()) return Fail(may);
  const auto host = client->WakeForExec(options.host, ShellJoin(options.command));
  if (!host.ok()) return Fail(host.status());
  auto agent = AgentSocket::Connect(host->instance_dir());
  if (!agent.ok()) return Fail(agent.status());
  if (const absl::Status sent = agent->SendRequest(*request); !sent.ok()) return Fail(sent);
  pollfd entries[2] = {{agent->fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}};
  while (true) {
    if (poll(entries, 2, -1) < 0 && errno != EINTR) return Fail(ErrnoStatus("poll"));
    if (entries[1].revents != 0) {
      signals.Take([&](int signal, bool) {
        // A host that went away is noticed below.
        if (signal != SIGCHLD) agent->SendSignal(signal).IgnoreError();
      });
    }
    if (entries[0].revents != 0) break;
  }
  const auto result = agent->ReceiveResult();
  if (!result.ok()) return Fail(result.status());
  if (!result->error().empty()) {
    PrintError(absl::StrCat(options.host, ": ", result->error()));
    return kExitNoSuchProgram;
  }
  return result->exit_code();
}

}  // namespace

void AddExec(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("exec", "Run a command inside a host: im exec HOST -- COMMAND");
  auto options = std::make_shared<ExecOptions>();
  verb->add_option("HOST", options->host, "The host; it is woken")->required();
  verb->add_option("-e,--env", options->environment, "NAME=VALUE, added to the host's environment")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  verb->add_option("-w,--workdir", options->working_directory,
                   "Working directory inside the host; default: the host's own");
  verb->footer("Exits with the command's own code, or 128 and its signal's number; 127 if the host has no\n"
      "such program; 1 if the host went away meanwhile.");
  verb->callback([&context, options] {
    options->command = context.trailing;
    context.run = [&context, options] { return Run(context, *options); };
  });
}

}  // namespace im::orchestrator::cli
