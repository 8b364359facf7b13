// Terminal: what the output may look like: colours and symbols only where they
// are shown.

#ifndef IM_ORCHESTRATOR_CLI_TERMINAL_H_
#define IM_ORCHESTRATOR_CLI_TERMINAL_H_

#include <functional>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace im::orchestrator::cli {

enum class Colour { kNone, kDim, kBold, kRed, kGreen, kYellow, kBlue, kMagenta, kCyan, kInverse };

struct Terminal {
  bool colours = false;
  bool unicode = false;
  size_t columns = 0;  // 0: not a terminal, lines are as long as they are

  // Of stdout. NO_COLOR and TERM=dumb are honoured; Unicode is for locales of
  // UTF-8.
  static Terminal OfStdout();

  std::string Paint(absl::string_view text, Colour colour) const;
  // "→", "…" and "µ" where they cannot be shown: "->", "...", "u".
  std::string Plain(absl::string_view text) const;
  absl::string_view micro() const { return unicode ? "µ" : "u"; }
};

// A host's state in its colour.
Colour ColourOfState(absl::string_view state);

// LC_ALL, LC_CTYPE or LANG, in this order, names UTF-8.
bool LocaleIsUtf8(const std::function<const char*(const char*)>& environment);

// Columns that `text` takes: code points, escape sequences not counted.
size_t DisplayWidth(absl::string_view text);

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_TERMINAL_H_
