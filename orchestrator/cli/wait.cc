// im wait HOST --state STATE: returns when the host is in that state.

#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/spec/units.h"

namespace im::orchestrator::cli {
namespace {

struct WaitOptions {
  std::string host;
  std::string state = "running";
  std::string timeout;
};

absl::StatusOr<std::string> StateOf(Client& client, const std::string& host) {
  const auto found = client.FindHost(host);
  if (!found.ok()) return found.status();
  return found->state();
}

int Run(const Context& context, const WaitOptions& options) {
  std::optional<Duration> timeout;
  if (!options.timeout.empty()) {
    timeout = ParseDuration(options.timeout);
    if (!timeout) {
      PrintError(absl::StrCat("--timeout ", options.timeout, ": durations look like 500ms, 5s, 1m"));
      return kExitBadInput;
    }
  }
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  grpc::ClientContext call;
  if (timeout) call.set_deadline(std::chrono::system_clock::now() + *timeout);
  // The stream first: a state that comes between the two is then seen.
  const int64_t begun = RealClock().UnixNanos();
  proto::EventsRequest request;
  request.set_follow(true);
  request.add_names(options.host);
  request.set_newest(1);
  const auto stream = client->stub().Events(&call, request);
  auto state = StateOf(*client, options.host);
  proto::Event event;
  while (state.ok() && *state != options.state && stream->Read(&event)) {
    if (event.to() == options.state && event.unix_nanos() >= begun) {
      state = event.to();
    } else {
      state = StateOf(*client, options.host);
    }
  }
  if (!state.ok()) return Fail(state.status());
  if (*state == options.state) {
    call.TryCancel();
    return kExitOk;
  }
  const grpc::Status status = stream->Finish();
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    PrintError(absl::StrCat(options.host, " is ", *state, " after ", options.timeout));
    return kExitFailure;
  }
  return Fail(FromGrpc(status));
}

}  // namespace

void AddWait(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("wait", "Wait until a host is in a state");
  auto options = std::make_shared<WaitOptions>();
  verb->add_option("HOST", options->host, "The host")->required();
  verb->add_option("--state", options->state,
                   "imaginary, starting, running (default), paused, releasing, checkpointed or\n"
                   "restoring")
      ->check(CLI::IsMember({"imaginary", "starting", "running", "paused", "releasing",
                               "checkpointed", "restoring"}));
  verb->add_option("--timeout", options->timeout, "Give up after so long, e.g. 30s (exit code 1)");
  verb->callback([&context, options] {
    context.run = [&context, options] { return Run(context, *options); };
  });
}

}  // namespace im::orchestrator::cli
