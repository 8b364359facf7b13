#include "orchestrator/cli/command_line.h"

#include <algorithm>
#include <iterator>

namespace im::orchestrator::cli {
namespace {

// Options whose value is the next word, of `im` itself, run and exec.
bool TakesValue(const std::string& word) {
  constexpr const char* kOptions[] = {"-c", "--cluster", "--name", "--attach",
                                      "-e", "--env",     "-w",     "--workdir"};
  return std::find(std::begin(kOptions), std::end(kOptions), word) != std::end(kOptions);
}

bool IsOption(const std::string& word) { return word.size() > 1 && word[0] == '-'; }

}  // namespace

CommandLine SplitCommandLine(std::vector<std::string> words) {
  CommandLine line;
  size_t ours_left = 0;  // words behind the verb that are ours and no options
  size_t i = 0;
  for (; i < words.size(); ++i) {
    if (words[i] == "--" && !line.verb.empty()) {
      ++i;
      break;
    }
    if (IsOption(words[i])) {
      line.words.push_back(words[i]);
      if (TakesValue(words[i]) && i + 1 < words.size()) line.words.push_back(words[++i]);
      continue;
    }
    if (line.verb.empty()) {
      line.verb = words[i];
      if (line.verb != "run" && line.verb != "exec") {
        line.words.insert(line.words.end(), words.begin() + static_cast<ptrdiff_t>(i), words.end());
        return line;
      }
      ours_left = line.verb == "exec" ? 1 : 0;
    } else if (ours_left > 0) {
      --ours_left;
    } else {
      break;
    }
    line.words.push_back(words[i]);
  }
  line.trailing.assign(words.begin() + static_cast<ptrdiff_t>(i), words.end());
  return line;
}

}  // namespace im::orchestrator::cli
