#include "orchestrator/cli/terminal.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace im::orchestrator::cli {
namespace {

bool Utf8With(std::map<std::string, std::string> variables) {
  return LocaleIsUtf8([&](const char* name) -> const char* {
    const auto it = variables.find(name);
    return it == variables.end() ? nullptr : it->second.c_str();
  });
}

TEST(Terminal, TheFirstLocaleVariableThatIsSetDecides) {
  EXPECT_FALSE(Utf8With({}));
  EXPECT_TRUE(Utf8With({{"LANG", "de_DE.UTF-8"}}));
  EXPECT_TRUE(Utf8With({{"LC_CTYPE", "C.utf8"}, {"LANG", "C"}}));
  EXPECT_FALSE(Utf8With({{"LC_ALL", "C"}, {"LANG", "en_US.UTF-8"}}));
  EXPECT_TRUE(Utf8With({{"LC_ALL", ""}, {"LANG", "en_US.UTF-8"}}));
}

TEST(Terminal, SymbolsFallBackToAscii) {
  Terminal plain;
  EXPECT_EQ(plain.Plain("imaginary → starting … 3µs"), "imaginary -> starting ... 3us");
  Terminal unicode;
  unicode.unicode = true;
  EXPECT_EQ(unicode.Plain("a → b"), "a → b");
}

TEST(Terminal, PaintsOnlyWhereColoursAreShown) {
  Terminal terminal;
  EXPECT_EQ(terminal.Paint("x", Colour::kRed), "x");
  terminal.colours = true;
  EXPECT_EQ(terminal.Paint("x", Colour::kRed), "\x1b[31mx\x1b[0m");
  EXPECT_EQ(terminal.Paint("x", Colour::kNone), "x");
}

TEST(Terminal, WidthCountsCharactersAndNoColours) {
  EXPECT_EQ(DisplayWidth(""), 0u);
  EXPECT_EQ(DisplayWidth("a→b"), 3u);
  EXPECT_EQ(DisplayWidth("\x1b[31mab\x1b[0m"), 2u);
}

}  // namespace
}  // namespace im::orchestrator::cli
