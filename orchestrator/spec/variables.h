// $VARIABLES in values, and files of them (.env, env_file), as Compose has
// them.

#ifndef IM_ORCHESTRATOR_SPEC_VARIABLES_H_
#define IM_ORCHESTRATOR_SPEC_VARIABLES_H_

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "orchestrator/spec/diagnostic_sink.h"

namespace im::orchestrator {

using VariableLookup = std::function<std::optional<std::string>(const std::string& name)>;

// Longest text that a value may become, and all values of a file of variables
// together: no field needs more.
inline constexpr size_t kInterpolatedBytesMax = 1 << 20;

// Replaces $NAME, ${NAME}, ${NAME:-default}, ${NAME-default}, ${NAME:+other},
// ${NAME+other}, ${NAME:?message}, ${NAME?message} and $$ (a dollar sign).
// With the colon an empty variable counts as not set. Defaults may contain
// variables. A variable that is not set and has no default becomes nothing,
// with a warning. Mistakes go to `sink`.
std::string Interpolate(const std::string& text, SourcePosition at, const VariableLookup& lookup,
                        DiagnosticSink& sink);

// The lines NAME=value of a file, later ones winning. Comments (#), blank lines, "export ", quotes;
// variables in values that are not in single quotes. Mistakes go to `sink`,
// which names the file.
std::map<std::string, std::string> ParseEnvFile(absl::string_view text,
                                                const VariableLookup& lookup,
                                                DiagnosticSink& sink);

// Letters, digits and "_", not a digit at the front.
bool IsVariableName(absl::string_view name);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_SPEC_VARIABLES_H_
