// What a shell offers while a command line of `im` is typed, out of the same
// tree of verbs and options that --help is made from.
//
// The shells' own scripts (CompletionScript) are a few lines: they ask
// `im __complete WORDS…`, where the last word is the one that is typed, and get
// one candidate a line, with its description behind a tab. A line ":files"
// says that a file's name will do as well, ":nospace" that the candidates are
// only beginnings.

#ifndef IM_ORCHESTRATOR_CLI_COMPLETION_H_
#define IM_ORCHESTRATOR_CLI_COMPLETION_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace CLI {
class App;
}

namespace im::orchestrator::cli {

inline constexpr char kCompleteVerb[] = "__complete";

// Asked only where their answers are needed. `cluster`: the word behind -c, or
// empty.
struct CompletionSources {
  std::function<std::vector<std::string>(const std::string& cluster)> hosts;
  std::function<std::vector<std::string>()> clusters;
  std::function<std::vector<std::string>(const std::string& cluster)> peers;
};

// The lines. `words`: all behind `im`.
std::vector<std::string> Complete(const CLI::App& app, const std::vector<std::string>& words,
                                  const CompletionSources& sources);

// For "bash", "zsh" or "fish"; empty for others.
std::string CompletionScript(absl::string_view shell);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_COMPLETION_H_
