#include "orchestrator/cli/completion.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace im::orchestrator::cli {
namespace {

constexpr char kFiles[] = ":files";
constexpr char kNoSpace[] = ":nospace";

constexpr char kBash[] = R"(# bash completion for im; made by: im completion bash
_im() {
  local word description
  COMPREPLY=()
  while IFS=$'\t' read -r word description; do
    case $word in
      :files) compopt -o default ;;
      :nospace) compopt -o nospace ;;
      ?*) COMPREPLY+=("$word") ;;
    esac
  done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2> /dev/null)
}
complete -F _im im
)";

constexpr char kZsh[] = R"(#compdef im
# zsh completion for im; made by: im completion zsh
_im() {
  local word description files=0
  local -a candidates options
  while IFS=$'\t' read -r word description; do
    case $word in
      :files) files=1 ;;
      :nospace) options=(-S '') ;;
      ?*) candidates+=("${word//:/\\:}${description:+:$description}") ;;
    esac
  done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2> /dev/null)
  (( ${#candidates} )) && _describe -t im im candidates "${options[@]}"
  (( files )) && _files
}
if [ "$funcstack[1]" = "_im" ]; then _im "$@"; else compdef _im im; fi
)";

constexpr char kFish[] = R"(# fish completion for im; made by: im completion fish
function __im_complete
  set -l words (commandline -opc) (commandline -ct)
  command $words[1] __complete $words[2..-1] 2> /dev/null
end
complete -c im -f -a '(__im_complete | string match -v -r "^:")'
complete -c im -n '__im_complete | string match -q :files' -F
)";

std::string Line(absl::string_view word, absl::string_view description) {
  const absl::string_view first = description.substr(0, description.find('\n'));
  return first.empty() ? std::string(word) : absl::StrCat(word, "\t", first);
}

const CLI::App* FindVerb(const CLI::App& app, const std::string& name) {
  for (const CLI::App* verb : app.get_subcommands({})) {
    if (verb->get_name() == name) return verb;
  }
  return nullptr;
}

bool HasVerbs(const CLI::App& verb) { return !verb.get_subcommands({}).empty(); }

const CLI::Option* FindOption(const CLI::App& app, const std::string& word) {
  for (const CLI::Option* option : app.get_options({})) {
    if (!option->nonpositional()) continue;
    if (option->check_name(word)) return option;
  }
  return nullptr;
}

bool TakesValue(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

// What one of the options or positional words of a verb may be.
class Values {
 public:
  Values(const CompletionSources& sources, std::string cluster, std::vector<std::string>& lines)
      : sources_(sources), cluster_(std::move(cluster)), lines_(lines) {}

  void Of(const CLI::Option& option, absl::string_view prefix) {
    const std::string name = option.get_name(/*positional=*/true);
    if (option.check_lname("cluster")) return Names(sources_.clusters(), prefix);
    // "TEXT:{name,state}": of those, one.
    const std::string type = option.get_type_name();
    const size_t open = type.find('{');
    if (open != std::string::npos && type.back() == '}') {
      return Names(absl::StrSplit(type.substr(open + 1, type.size() - open - 2), ','), prefix);
    }
    if (name == "HOST") return Names(sources_.hosts(cluster_), prefix);
    if (name == "PEER") return Names(sources_.peers(cluster_), prefix);
    if (name == "FILE" || option.check_lname("write") || option.check_lname("output"))
      return lines_.push_back(kFiles);
    if (name == "SOURCE" || name == "DESTINATION") return Places(prefix);
  }

 private:
  void Names(const std::vector<std::string>& names, absl::string_view prefix) {
    for (const std::string& name : names) {
      if (absl::StartsWith(name, prefix)) lines_.push_back(name);
    }
  }
  // HOST:PATH, or a path here.
  void Places(absl::string_view prefix) {
    lines_.push_back(kFiles);
    if (absl::StrContains(prefix, '/') || absl::StrContains(prefix, ':')) return;
    for (const std::string& name : sources_.hosts(cluster_)) {
      if (absl::StartsWith(name, prefix)) lines_.push_back(absl::StrCat(name, ":"));
    }
    if (lines_.size() > 1) lines_.push_back(kNoSpace);
  }

  const CompletionSources& sources_;
  const std::string cluster_;
  std::vector<std::string>& lines_;
};

void AddOptions(const CLI::App& app, absl::string_view prefix, std::vector<std::string>& lines) {
  for (const CLI::Option* option : app.get_options({})) {
    if (!option->nonpositional() || option->get_group().empty()) continue;
    for (const std::string& name : option->get_lnames()) {
      const std::string word = absl::StrCat("--", name);
      if (absl::StartsWith(word, prefix)) lines.push_back(Line(word, option->get_description()));
    }
    for (const std::string& name : option->get_snames()) {
      const std::string word = absl::StrCat("-", name);
      if (prefix == "-" || prefix == word) lines.push_back(Line(word, option->get_description()));
    }
  }
}

// The positional word number `index`.
const CLI::Option* Positional(const CLI::App& verb, size_t index) {
  const CLI::Option* last = nullptr;
  size_t i = 0;
  for (const CLI::Option* option : verb.get_options({})) {
    if (option->nonpositional() || !option->get_positional()) continue;
    last = option;
    if (i++ == index) return option;
  }
  // One that may be repeated takes what follows.
  return last != nullptr && last->get_items_expected_max() > 1 ? last : nullptr;
}

// Behind these words stands a command line of another program.
bool RunsAnother(const std::string& verb, size_t positionals, bool dashes) {
  if (verb == "run") return dashes || positionals > 0;
  return verb == "exec" && (dashes || positionals > 1);
}

}  // namespace

std::vector<std::string> Complete(const CLI::App& app, const std::vector<std::string>& words,
                                  const CompletionSources& sources) {
  std::vector<std::string> lines;
  const std::string typed = words.empty() ? "" : words.back();
  const CLI::App* verb = nullptr;
  const CLI::Option* open_option = nullptr;  // whose value comes next
  std::string cluster;
  size_t positionals = 0;
  bool dashes = false;
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (open_option != nullptr) {
      if (open_option->check_lname("cluster")) cluster = word;
      open_option = nullptr;
    } else if (word == "--") {
      dashes = true;
    } else if (!dashes && word.size() > 1 && word[0] == '-') {
      const CLI::Option* option = verb != nullptr ? FindOption(*verb, word) : nullptr;
      if (option == nullptr) option = FindOption(app, word);
      if (option != nullptr && TakesValue(*option)) open_option = option;
    } else if (verb == nullptr) {
      verb = FindVerb(app, word);
      if (verb == nullptr) return lines;
    } else if (HasVerbs(*verb)) {  // im peer add
      verb = FindVerb(*verb, word);
      if (verb == nullptr) return lines;
    } else {
      ++positionals;
    }
    if (verb != nullptr && RunsAnother(verb->get_name(), positionals, dashes)) return {kFiles};
  }
  Values values(sources, cluster, lines);
  if (open_option != nullptr) {
    values.Of(*open_option, typed);
    return lines;
  }
  if (!dashes && absl::StartsWith(typed, "-")) {
    if (verb != nullptr) AddOptions(*verb, typed, lines);
    AddOptions(app, typed, lines);
    std::sort(lines.begin(), lines.end());
    lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
    return lines;
  }
  if (verb == nullptr || HasVerbs(*verb)) {
    for (const CLI::App* known : (verb == nullptr ? app : *verb).get_subcommands({})) {
      if (known->get_group().empty() || !absl::StartsWith(known->get_name(), typed)) continue;
      lines.push_back(Line(known->get_name(), known->get_description()));
    }
    return lines;
  }
  if (verb->get_name() == "run") return {kFiles};
  if (const CLI::Option* positional = Positional(*verb, positionals)) {
    values.Of(*positional, typed);
  } else if (verb->get_name() == "exec") {
    lines.push_back(kFiles);
  }
  return lines;
}

std::string CompletionScript(absl::string_view shell) {
  if (shell == "bash") return kBash;
  if (shell == "zsh") return kZsh;
  if (shell == "fish") return kFish;
  return "";
}

}  // namespace im::orchestrator::cli
