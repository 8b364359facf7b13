// Table: columns of text, as wide as they must be.

#ifndef IM_ORCHESTRATOR_CLI_TABLE_H_
#define IM_ORCHESTRATOR_CLI_TABLE_H_

#include <string>
#include <vector>

#include "orchestrator/cli/terminal.h"

namespace im::orchestrator::cli {

// The first `columns` columns (0: all) of a line that may hold escape sequences.
std::string CutLine(absl::string_view line, size_t columns, const Terminal& terminal);

class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // Preconditions: as many cells as columns.
  void Add(std::vector<std::string> cells);

  // With a line of titles. A column that is empty in all rows is left out.
  // On a terminal, lines that are too long for it are cut.
  std::string ToString(const Terminal& terminal) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace im::orchestrator::cli

#endif  // IM_ORCHESTRATOR_CLI_TABLE_H_
