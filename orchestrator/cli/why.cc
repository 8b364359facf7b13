// im why HOST: what woke it, what keeps it up, what went wrong.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "orchestrator/cli/client.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/event_view.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/host_view.h"
#include "orchestrator/cli/json.h"
#include "orchestrator/spec/units.h"

namespace im::orchestrator::cli {
namespace {

struct WhyOptions {
  std::string host;
  bool json = false;
};

void PrintField(const Terminal& terminal, const char* name, const std::string& value) {
  if (value.empty()) return;
  const std::string padded = absl::StrCat(name, std::string(12 - std::string(name).size(), ' '));
  std::puts(absl::StrCat("  ", terminal.Paint(padded, Colour::kDim), terminal.Plain(value)).c_str());
}

int Run(const Context& context, const WhyOptions& options) {
  auto client = Client::Connect(context);
  if (!client.ok()) return Fail(client.status());
  const auto answer = client->Why(options.host);
  if (!answer.ok()) return Fail(answer.status());
  const proto::WhyReply& reply = *answer;
  if (options.json) {
    std::puts(ToJson(reply).c_str());
    return kExitOk;
  }
  const Terminal& terminal = context.terminal;
  const proto::HostInfo& host = reply.host();
  const std::string since = TextSince(host, RealClock().UnixNanos());
  std::puts(absl::StrCat(terminal.Paint(host.name(), Colour::kBold), " is ",
                         terminal.Paint(host.state(), ColourOfState(host.state())),
                         since.empty() ? "" : absl::StrCat(", for ", since))
                .c_str());
  PrintField(terminal, "woken by", host.cause_text());
  PrintField(terminal, "how", TextOfWake(host, terminal));
  PrintField(terminal, "kept up by",
             absl::StrJoin(reply.keeps_up().begin(), reply.keeps_up().end(), "; "));
  PrintField(terminal, "next", TextOfNext(host));
  const uint64_t reclaimed = host.status().reclaimed_bytes();
  PrintField(terminal, "reclaimed", reclaimed == 0 ? "" : FormatSize(reclaimed));
  PrintField(terminal, "last error", host.last_error());
  PrintField(terminal, "address", host.has_address6()
                                      ? absl::StrCat(host.address(), ", ", host.address6())
                                      : "");
  PrintField(terminal, "starts", host.starts() == 0 ? "" : absl::StrCat(host.starts()));
  PrintField(terminal, "thaws", host.thaws() == 0 ? "" : absl::StrCat(host.thaws()));
  if (reply.events_size() > 0) std::puts("");
  EventPrinter printer(HostWidth({host}), terminal);
  for (const proto::Event& event : reply.events()) printer.Print(event);
  return kExitOk;
}

}  // namespace

void AddWhy(CLI::App& app, Context& context) {
  CLI::App* verb =
      app.add_subcommand("why", "Say why a host runs or not: its last wake, what keeps it up");
  auto options = std::make_shared<WhyOptions>();
  verb->add_option("HOST", options->host, "The host")->required();
  verb->add_flag("--json", options->json, "As JSON");
  verb->callback([&context, options] {
    context.run = [&context, options] { return Run(context, *options); };
  });
}

}  // namespace im::orchestrator::cli
