#include "orchestrator/cli/table.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace im::orchestrator::cli {
namespace {

constexpr char kGap[] = "  ";

}  // namespace

std::string CutLine(absl::string_view line, size_t columns, const Terminal& terminal) {
  if (columns == 0 || DisplayWidth(line) <= columns) return std::string(line);
  std::string out;
  size_t width = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      while (i < line.size() && line[i] != 'm') out.push_back(line[i++]);
      if (i < line.size()) out.push_back('m');
      continue;
    }
    const bool begins_character = (static_cast<uint8_t>(line[i]) & 0xc0) != 0x80;
    if (begins_character && ++width >= columns) break;
    out.push_back(line[i]);
  }
  absl::StrAppend(&out, terminal.unicode ? "…" : ">", terminal.colours ? "\x1b[0m" : "");
  return out;
}

void Table::Add(std::vector<std::string> cells) {
  IM_CHECK(cells.size() == columns_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::ToString(const Terminal& terminal) const {
  std::vector<size_t> widths(columns_.size(), 0);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  std::vector<std::string> titles;
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (widths[i] > 0) widths[i] = std::max(widths[i], columns_[i].title.size());
    titles.push_back(terminal.Paint(columns_[i].title, Colour::kBold));
  }
  std::string out;
  const auto append = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i) {
      if (widths[i] == 0) continue;
      const std::string padding(widths[i] - DisplayWidth(cells[i]), ' ');
      if (!line.empty()) absl::StrAppend(&line, kGap);
      if (columns_[i].align == Align::kRight) absl::StrAppend(&line, padding, cells[i]);
      else absl::StrAppend(&line, cells[i], padding);
    }
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&out, CutLine(line, terminal.columns, terminal), "\n");
  };
  append(titles);
  for (const auto& row : rows_) append(row);
  return out;
}

}  // namespace im::orchestrator::cli
