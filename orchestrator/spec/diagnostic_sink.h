// DiagnosticSink: where the readers of a cluster.yaml put what they find.

#ifndef IM_ORCHESTRATOR_SPEC_DIAGNOSTIC_SINK_H_
#define IM_ORCHESTRATOR_SPEC_DIAGNOSTIC_SINK_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "orchestrator/cluster_spec.h"

namespace im::orchestrator {

// Errors, and warnings, that are kept: nobody reads more at once. The number
// of the rest is told.
inline constexpr size_t kDiagnosticsMax = 200;

class DiagnosticSink {
 public:
  explicit DiagnosticSink(std::string file) : file_(std::move(file)) {}

  void Error(SourcePosition at, std::string message, std::string hint = "");
  void Warning(SourcePosition at, std::string message, std::string hint = "");

  // What was found in another file that this one refers to.
  void Absorb(DiagnosticSink& other);

  bool has_errors() const { return !errors_.empty(); }

  // In the order of the file (others follow), each said once.
  std::vector<Diagnostic> TakeErrors() { return Take(errors_); }
  std::vector<Diagnostic> TakeWarnings() { return Take(warnings_); }

 private:
  std::vector<Diagnostic> Take(std::vector<Diagnostic>& list);

  std::string file_;
  std::vector<Diagnostic> errors_;
  std::vector<Diagnostic> warnings_;
};

// `name` in quotes, made printable and cut if long, for messages.
std::string Quote(absl::string_view name);

// The candidate that is nearest to `name` by edit distance, if it is near
// enough to be what was meant; else empty.
absl::string_view Nearest(absl::string_view name, const std::vector<absl::string_view>& candidates);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_SPEC_DIAGNOSTIC_SINK_H_
