#include "orchestrator/spec/shell_split.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace im::orchestrator {

absl::StatusOr<std::vector<std::string>> ShellSplit(absl::string_view line) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (absl::ascii_isspace(c)) {
      if (in_word) words.push_back(std::move(word));
      word.clear();
      in_word = false;
      continue;
    }
    in_word = true;
    if (c == '\'') {
      const size_t end = line.find('\'', i + 1);
      if (end == absl::string_view::npos) {
        return absl::InvalidArgumentError("a single quote without its end");
      }
      absl::StrAppend(&word, line.substr(i + 1, end - i - 1));
      i = end;
    } else if (c == '"') {
      for (++i; i < line.size() && line[i] != '"'; ++i) {
        const bool escapes = line[i] == '\\' && i + 1 < line.size() &&
                             absl::string_view("\"\\$`\n").find(line[i + 1]) !=
                                 absl::string_view::npos;
        if (escapes) ++i;
        word.push_back(line[i]);
      }
      if (i >= line.size()) return absl::InvalidArgumentError("a double quote without its end");
    } else if (c == '\\' && i + 1 < line.size()) {
      ++i;
      if (line[i] != '\n') word.push_back(line[i]);
    } else {
      word.push_back(c);
    }
  }
  if (in_word) words.push_back(std::move(word));
  return words;
}

std::string ShellOperatorIn(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    for (const char* op : {"&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1"}) {
      if (word == op) return word;
    }
  }
  return "";
}

std::string ShellJoin(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) {
    if (!line.empty()) line.push_back(' ');
    const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
      return absl::ascii_isalnum(c) ||
             absl::string_view("_-./:=,+@%^").find(c) != absl::string_view::npos;
    });
    if (plain) {
      absl::StrAppend(&line, word);
    } else {
      absl::StrAppend(&line, "'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
    }
  }
  return line;
}

}  // namespace im::orchestrator
