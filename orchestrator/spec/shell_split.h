// ShellSplit: a command line into words, as sh(1) does with quotes and
// backslashes, and nothing else: no variables, no globbing, no operators.

#ifndef IM_ORCHESTRATOR_SPEC_SHELL_SPLIT_H_
#define IM_ORCHESTRATOR_SPEC_SHELL_SPLIT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace im::orchestrator {

// InvalidArgument for a quote without its end.
absl::StatusOr<std::vector<std::string>> ShellSplit(absl::string_view line);

// What is an operator for a shell and an ordinary word for us ("&&", "|", ">");
// empty if `words` has none. For warnings.
std::string ShellOperatorIn(const std::vector<std::string>& words);

// The words as one line that ShellSplit takes apart again; for messages.
std::string ShellJoin(const std::vector<std::string>& words);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_SPEC_SHELL_SPLIT_H_
