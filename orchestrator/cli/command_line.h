// The words of a command line, before they are parsed: which are ours, and
// which are those of the program that im run and im exec are to start.

#ifndef IM_ORCHESTRATOR_CLI_COMMAND_LINE_H_
#define IM_ORCHESTRATOR_CLI_COMMAND_LINE_H_

#include <string>
#include <vector>

namespace im::orchestrator::cli {

struct CommandLine {
  std::string verb;                   // empty if there is none
  std::vector<std::string> words;     // ours, the verb among them
  std::vector<std::string> trailing;  // the program's
};

// "run --name n -- ls -l", "run ls -l", "exec web ls -l": the program's words
// begin behind "--", or with the first (exec: the second) word behind the verb
// that is no option. Its options are never taken for ours.
CommandLine SplitCommandLine(std::vector<std::string> words);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_COMMAND_LINE_H_
