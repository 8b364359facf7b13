// im convert: a Compose file as the cluster.yaml that it is.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "orchestrator/cli/cluster_choice.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/spec_view.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/spec/spec_writer.h"

namespace im::orchestrator::cli {

void AddConvert(CLI::App& app, Context& context) {
  CLI::App* verb =
      app.add_subcommand("convert", "Write the cluster.yaml that says what a Compose file says");
  auto file = std::make_shared<std::string>();
  verb->add_option("FILE", *file,
                   "Default: cluster.yaml, compose.yaml, compose.yml, docker-compose.yaml or\n"
                   "docker-compose.yml, whichever is there");
  verb->footer(
      "It goes to stdout, and what is not honoured of the file to stderr, with its line.\n"
      "Variables are replaced by what they are now, paths are absolute, and every host has\n"
      "the command, environment and user of its image. im up takes it as it takes the\n"
      "Compose file.");
  verb->callback([&context, file] {
    context.run = [file] {
      const ParsedClusterSpec parsed = LoadClusterSpec(file->empty() ? DefaultSpecFile() : *file);
      PrintDiagnostics(parsed);
      if (!parsed.spec) return kExitBadInput;
      std::fputs(WriteClusterSpec(*parsed.spec).c_str(), stdout);
      return kExitOk;
    };
  });
}

}  // namespace im::orchestrator::cli
