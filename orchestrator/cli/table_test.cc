#include "orchestrator/cli/table.h"

#include <gtest/gtest.h>

namespace im::orchestrator::cli {
namespace {

using Align = Table::Align;

TEST(Table, ColumnsAreAsWideAsTheirWidestCell) {
  Table table({{"HOST"}, {"MEM", Align::kRight}, {"NEXT"}});
  table.Add({"a", "5M", ""});
  table.Add({"a-long-name", "120M", "soon"});
  EXPECT_EQ(table.ToString(Terminal()),
            "HOST          MEM  NEXT\n"
            "a              5M\n"
            "a-long-name  120M  soon\n");
}

TEST(Table, EmptyColumnsAreLeftOut) {
  Table table({{"HOST"}, {"MEM"}, {"NEXT"}});
  table.Add({"a", "", "b"});
  EXPECT_EQ(table.ToString(Terminal()), "HOST  NEXT\na     b\n");
}

TEST(Table, ColoursTakeNoRoom) {
  Terminal terminal;
  terminal.colours = true;
  Table table({{"A"}, {"B"}});
  table.Add({terminal.Paint("run", Colour::kGreen), "x"});
  table.Add({"paused", "y"});
  EXPECT_EQ(table.ToString(terminal),
            "\x1b[1mA\x1b[0m       \x1b[1mB\x1b[0m\n"
            "\x1b[32mrun\x1b[0m     x\n"
            "paused  y\n");
}

TEST(Table, LinesAreCutAtTheTerminalsEdge) {
  Terminal terminal;
  terminal.columns = 8;
  Table table({{"A"}, {"B"}});
  table.Add({"abcd", "efghij"});
  table.Add({"ab", "ef"});
  EXPECT_EQ(table.ToString(terminal), "A     B\nabcd  e>\nab    ef\n");
  terminal.unicode = true;
  EXPECT_EQ(table.ToString(terminal), "A     B\nabcd  e…\nab    ef\n");
}

}  // namespace
}  // namespace im::orchestrator::cli
