#include "orchestrator/cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace im::orchestrator::cli {
namespace {

// ECMA-48 8.3.117.
absl::string_view CodeOf(Colour colour) {
  switch (colour) {
    case Colour::kNone: return "";
    case Colour::kDim: return "2";
    case Colour::kBold: return "1";
    case Colour::kRed: return "31";
    case Colour::kGreen: return "32";
    case Colour::kYellow: return "33";
    case Colour::kBlue: return "34";
    case Colour::kMagenta: return "35";
    case Colour::kCyan: return "36";
    case Colour::kInverse: return "7";
  }
  return "";
}

}  // namespace

Terminal Terminal::OfStdout() {
  Terminal terminal;
  const auto environment = [](const char* name) -> const char* { return std::getenv(name); };
  const bool is_terminal = isatty(STDOUT_FILENO) == 1;
  const char* no_colour = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  const bool dumb = term == nullptr || absl::string_view(term) == "dumb";
  terminal.colours = is_terminal && !dumb && (no_colour == nullptr || *no_colour == '\0');
  terminal.unicode = LocaleIsUtf8(environment);
  winsize size{};
  if (is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) terminal.columns = size.ws_col;
  return terminal;
}

std::string Terminal::Paint(absl::string_view text, Colour colour) const {
  if (!colours || colour == Colour::kNone) return std::string(text);
  return absl::StrCat("\x1b[", CodeOf(colour), "m", text, "\x1b[0m");
}

std::string Terminal::Plain(absl::string_view text) const {
  if (unicode) return std::string(text);
  return absl::StrReplaceAll(text, {{"→", "->"}, {"…", "..."}, {"µ", "u"}, {"↑↓", "up/down"}, {"←→", "left/right"}});
}

Colour ColourOfState(absl::string_view state) {
  if (state == "running") return Colour::kGreen;
  if (state == "starting" || state == "restoring") return Colour::kYellow;
  if (state == "paused" || state == "checkpointed") return Colour::kBlue;
  if (state == "releasing") return Colour::kCyan;
  return Colour::kDim;
}

bool LocaleIsUtf8(const std::function<const char*(const char*)>& environment) {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = environment(name);
    if (value == nullptr || *value == '\0') continue;
    return absl::StrContains(absl::AsciiStrToLower(value), "utf-8") ||
           absl::StrContains(absl::AsciiStrToLower(value), "utf8");
  }
  return false;
}

size_t DisplayWidth(absl::string_view text) {
  size_t width = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      while (i < text.size() && text[i] != 'm') ++i;
    } else if ((static_cast<uint8_t>(text[i]) & 0xc0) != 0x80) {
      ++width;
    }
  }
  return width;
}

}  // namespace im::orchestrator::cli
