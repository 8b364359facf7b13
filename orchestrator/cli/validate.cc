// im validate FILE: all mistakes of a cluster.yaml; starts nothing.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "orchestrator/cli/cluster_choice.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/json.h"
#include "orchestrator/cli/spec_view.h"
#include "orchestrator/cluster_spec.h"

namespace im::orchestrator::cli {
namespace {

struct ValidateOptions {
  std::string file;
  bool json = false;
};

std::string SpecJson(const ClusterSpec& spec) {
  std::vector<std::string> hosts;
  for (const HostSpec& host : spec.hosts) {
    std::vector<std::string> argv;
    for (const std::string& word : host.argv) argv.push_back(JsonString(word));
    std::string addresses = absl::StrCat("\"address\":", JsonString(host.address.ToString()));
    if (spec.dual_stack.on()) {
      absl::StrAppend(&addresses, ",\"address6\":",
                      JsonString(spec.dual_stack.ToV6(host.address).ToString()));
    }
    hosts.push_back(absl::StrCat("{\"name\":", JsonString(host.name), ",", addresses,
                                 ",\"line\":", host.at.line,
                                 ",\"command\":[", absl::StrJoin(argv, ","), "]}"));
  }
  std::string networks = absl::StrCat("\"network\":", JsonString(spec.network.ToString()));
  if (spec.dual_stack.on()) {
    absl::StrAppend(&networks, ",\"network6\":",
                    JsonString(spec.dual_stack.network().ToString()));
  }
  return absl::StrCat("{\"name\":", JsonString(spec.name), ",", networks, ",\"gateway\":",
                      JsonString(spec.gateway.ToString()), ",\"domain\":",
                      JsonString(spec.domain), ",\"hosts\":[", absl::StrJoin(hosts, ","), "]}");
}

int Run(const Context& context, const ValidateOptions& options) {
  const ParsedClusterSpec parsed = LoadClusterSpec(options.file);
  if (options.json) {
    std::puts(absl::StrCat("{\"valid\":", parsed.spec ? "true" : "false",
                           ",\"errors\":", ToJson(parsed.errors),
                           ",\"warnings\":", ToJson(parsed.warnings),
                           ",\"cluster\":", parsed.spec ? SpecJson(*parsed.spec) : "null", "}")
                  .c_str());
  } else {
    PrintDiagnostics(parsed);
    if (parsed.spec) std::fputs(SpecSummary(*parsed.spec, context.terminal).c_str(), stdout);
  }
  return parsed.spec ? kExitOk : kExitBadInput;
}

}  // namespace

void AddValidate(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("validate", "Check a cluster.yaml; start nothing");
  auto options = std::make_shared<ValidateOptions>();
  verb->add_option("FILE", options->file,
                   "Default: cluster.yaml, else compose.yaml, compose.yml, docker-compose.yaml or\n"
                   "docker-compose.yml, whichever is there");
  verb->add_flag("--json", options->json, "As JSON: {valid, errors, warnings, cluster}");
  verb->callback([&context, options] {
    context.run = [&context, options] {
      if (options->file.empty()) options->file = DefaultSpecFile();
      return Run(context, *options);
    };
  });
}

}  // namespace im::orchestrator::cli
