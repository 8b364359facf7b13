// im: the command line of Imaginary Machines. One file a verb.

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "orchestrator/cli/command_line.h"
#include "orchestrator/cli/completion.h"
#include "orchestrator/cli/context.h"
#include "orchestrator/cli/exit_code.h"
#include "orchestrator/cli/version.h"
#include "orchestrator/spec/diagnostic_sink.h"

namespace im::orchestrator::cli {
namespace {

constexpr char kDescription[] =
    "Imaginary Machines: a cluster whose hosts start on the first packet and stop when idle.";

constexpr char kFooter[] =
    "A first look:\n"
    "  im up cluster.yaml               bring a cluster up, watch it; Ctrl-C ends it\n"
    "  im up -d cluster.yaml            the same, in the background\n"
    "  im ps                            which hosts run, what woke them, when they pause\n"
    "  im run -- curl http://web/       a program inside the network; its packets wake web\n"
    "  im why db                        why db runs, or does not\n"
    "  im down                          stop everything\n"
    "\n"
    "The cluster: -c NAME, else $IM_CLUSTER, else the only one that runs, else the one of\n"
    "cluster.yaml in this directory. State: below $IM_STATE_DIR, else /run/im;\n"
    "without root $XDG_RUNTIME_DIR/im, else ~/.local/state/im.\n"
    "\n"
    "Exit codes: 0 done; 1 failed; 2 bad input (a word here, a cluster.yaml); 3 the cluster\n"
    "runs already, or does not run; 4 not permitted on this machine. im run and im exec pass\n"
    "on their program's own code.\n";

std::vector<std::string> Verbs(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* known : app.get_subcommands({})) names.push_back(known->get_name());
  return names;
}

int RefuseVerb(const std::vector<std::string>& names, const std::string& verb) {
  const absl::string_view nearest = Nearest(verb, {names.begin(), names.end()});
  PrintError(absl::StrCat("there is no command ", verb,
                          nearest.empty() ? "; see im --help"
                                          : absl::StrCat("; did you mean im ", nearest, "?")));
  return kExitBadInput;
}

// A descriptor of stdio that is closed would be the next one to be opened, and
// what we print would go there. It is not for writing: that it was closed
// shall be an error, as it would be otherwise.
void KeepStdio() {
  int fd;
  do {
    fd = open("/dev/null", O_RDONLY);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

// What was printed must have arrived (a full disk, a closed stdout). A reader
// that went away ends us by SIGPIPE, silently, as it does other programs.
int CloseOutput(int code) {
  const bool failed = std::ferror(stdout) != 0;
  if (std::fflush(stdout) == 0 && !failed) return code;
  PrintError(absl::StrCat("cannot write the output: ", strerrordesc_np(errno)));
  return code == kExitOk ? kExitFailure : code;
}

int Main(int argc, char** argv) {
  KeepStdio();
  std::vector<std::string> words(argv + 1, argv + argc);
  if (std::filesystem::path(argv[0]).filename() == "im-up") words.insert(words.begin(), "up");
  Context context;
  context.terminal = Terminal::OfStdout();
  // While a line is typed its words are not to be understood yet.
  const bool completes = !words.empty() && words[0] == kCompleteVerb;
  std::vector<std::string> to_complete;
  if (completes) to_complete.assign(words.begin() + 1, words.end());
  CommandLine line = SplitCommandLine(std::move(words));
  context.trailing = std::move(line.trailing);

  CLI::App app(kDescription, "im");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("-c,--cluster", context.cluster_option, "The cluster's name");
  app.set_version_flag("--version", absl::StrCat("im ", kVersion));
  AddUp(app, context);
  AddDown(app, context);
  AddPs(app, context);
  AddTop(app, context);
  AddWhy(app, context);
  AddRun(app, context);
  AddExec(app, context);
  AddCopy(app, context);
  AddLogs(app, context);
  AddEvents(app, context);
  AddMetrics(app, context);
  AddDashboard(app, context);
  AddCapture(app, context);
  AddWake(app, context);
  AddSuspend(app, context);
  AddRelease(app, context);
  AddWait(app, context);
  AddValidate(app, context);
  AddDoctor(app, context);
  AddShell(app, context);
  app.footer(kFooter);  // after the verbs, which would have it too

  if (completes) return CloseOutput(RunComplete(app, context, to_complete));
  if (line.words.empty()) {
    std::fputs(app.help().c_str(), stderr);
    return kExitBadInput;
  }
  const std::vector<std::string> verbs = Verbs(app);
  if (!line.verb.empty() && std::find(verbs.begin(), verbs.end(), line.verb) == verbs.end()) {
    return RefuseVerb(verbs, line.verb);
  }
  try {
    std::reverse(line.words.begin(), line.words.end());  // as CLI11 wants them
    app.parse(line.words);
  } catch (const CLI::ParseError& error) {
    // --help and --version are "errors" with code 0.
    if (error.get_exit_code() == 0) return app.exit(error);
    PrintError(absl::StrCat(error.what(), "; see im --help"));
    return kExitBadInput;
  }
  return CloseOutput(context.run());
}

}  // namespace
}  // namespace im::orchestrator::cli

int main(int argc, char** argv) { return im::orchestrator::cli::Main(argc, argv); }
