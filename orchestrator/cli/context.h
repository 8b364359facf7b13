// Context: what every verb of `im` has at hand; and the verbs.

#ifndef IM_ORCHESTRATOR_CLI_CONTEXT_H_
#define IM_ORCHESTRATOR_CLI_CONTEXT_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "orchestrator/cli/terminal.h"

namespace CLI {
class App;
}

namespace im::orchestrator::cli {

struct Context {
  std::string cluster_option;         // -c
  std::vector<std::string> trailing;  // what stands behind "--"
  Terminal terminal;
  std::function<int()> run;           // of the verb that was given

  // Where the chosen cluster's files are.
  absl::StatusOr<std::string> ChosenStateDirectory() const;
};

// Writes "im: message" to stderr.
void PrintError(absl::string_view message);
// The same for a failed operation; returns the exit code that fits.
int Fail(const absl::Status& status);

// The directory of this program: imd and im-agent are beside it.
std::string ProgramDirectory();

// Prints what a shell offers for `words`, the last of which is being typed.
int RunComplete(const CLI::App& app, const Context& context,
                const std::vector<std::string>& words);

// Each adds its subcommand to `app`; when it is chosen, context.run is set.
void AddUp(CLI::App& app, Context& context);
void AddDown(CLI::App& app, Context& context);
void AddPs(CLI::App& app, Context& context);
void AddTop(CLI::App& app, Context& context);
void AddWhy(CLI::App& app, Context& context);
void AddEvents(CLI::App& app, Context& context);
void AddMetrics(CLI::App& app, Context& context);
void AddDashboard(CLI::App& app, Context& context);
void AddCapture(CLI::App& app, Context& context);
void AddCopy(CLI::App& app, Context& context);
void AddLogs(CLI::App& app, Context& context);
void AddExec(CLI::App& app, Context& context);
void AddWake(CLI::App& app, Context& context);
void AddSuspend(CLI::App& app, Context& context);
void AddRelease(CLI::App& app, Context& context);
void AddWait(CLI::App& app, Context& context);
void AddValidate(CLI::App& app, Context& context);
void AddDoctor(CLI::App& app, Context& context);
void AddShell(CLI::App& app, Context& context);
void AddRun(CLI::App& app, Context& context);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_CONTEXT_H_
