#include "orchestrator/spec/variables.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace im::orchestrator {
namespace {

// Defaults within defaults.
constexpr int kNestingMax = 8;

bool IsNameStart(char c) { return absl::ascii_isalpha(c) || c == '_'; }
bool IsNamePart(char c) { return absl::ascii_isalnum(c) || c == '_'; }

class Interpolation {
 public:
  Interpolation(SourcePosition at, const VariableLookup& lookup, DiagnosticSink& sink)
      : at_(at), lookup_(lookup), sink_(sink) {}

  std::string Expand(absl::string_view text, int depth) {
    std::string out;
    for (size_t i = 0; i < text.size();) {
      if (out.size() > kInterpolatedBytesMax) {
        sink_.Error(at_, "the value is too long with its variables filled in");
        return "";
      }
      if (text[i] != '$') {
        out.push_back(text[i++]);
        continue;
      }
      const absl::string_view rest = text.substr(i + 1);
      if (!rest.empty() && rest[0] == '$') {
        out.push_back('$');
        i += 2;
      } else if (!rest.empty() && rest[0] == '{') {
        const size_t end = ClosingBrace(rest);
        if (end == absl::string_view::npos) {
          sink_.Error(at_, "\"${\" without its \"}\"", "for a dollar sign itself write $$");
          return out;
        }
        absl::StrAppend(&out, ExpandBraces(rest.substr(1, end - 1), depth));
        i += end + 2;
      } else if (!rest.empty() && IsNameStart(rest[0])) {
        size_t size = 1;
        while (size < rest.size() && IsNamePart(rest[size])) ++size;
        absl::StrAppend(&out, ValueOrWarning(std::string(rest.substr(0, size))));
        i += size + 1;
      } else {
        sink_.Error(at_, absl::StrCat("no variable's name behind \"$\" in ", Quote(text)),
                    "for a dollar sign itself write $$");
        out.push_back('$');
        ++i;
      }
    }
    return out;
  }

 private:
  // `text` begins with "{".
  static size_t ClosingBrace(absl::string_view text) {
    int open = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '{' && (i == 0 || text[i - 1] == '$')) ++open;
      if (text[i] == '}' && --open == 0) return i;
    }
    return absl::string_view::npos;
  }

  // "NAME", "NAME:-default" and so on.
  std::string ExpandBraces(absl::string_view inner, int depth) {
    size_t size = 0;
    while (size < inner.size() && IsNamePart(inner[size])) ++size;
    const std::string name(inner.substr(0, size));
    absl::string_view rest = inner.substr(size);
    if (!IsVariableName(name)) {
      sink_.Error(at_, absl::StrCat("no variable's name in ", Quote(absl::StrCat("${", inner, "}"))),
                  "for a dollar sign itself write $$");
      return "";
    }
    if (rest.empty()) return ValueOrWarning(name);
    const bool colon = absl::ConsumePrefix(&rest, ":");
    if (rest.empty() || depth >= kNestingMax) return BadForm(inner);
    const char form = rest[0];
    rest.remove_prefix(1);
    const std::optional<std::string> value = lookup_(name);
    const bool set = value && !(colon && value->empty());
    switch (form) {
      case '-': return set ? *value : Expand(rest, depth + 1);
      case '+': return set ? Expand(rest, depth + 1) : "";
      case '?':
        if (set) return *value;
        sink_.Error(at_, absl::StrCat("the variable ", name, " must be set",
                                      rest.empty() ? "" : ": ", rest));
        return "";
      default: return BadForm(inner);
    }
  }

  std::string BadForm(absl::string_view inner) {
    sink_.Error(at_, absl::StrCat("bad form of a variable: ", Quote(absl::StrCat("${", inner, "}"))),
                "known are ${A}, ${A:-default}, ${A:+other} and ${A:?message}");
    return "";
  }

  std::string ValueOrWarning(const std::string& name) {
    if (std::optional<std::string> value = lookup_(name)) return *value;
    sink_.Warning(at_, absl::StrCat("the variable ", name, " is not set: replaced by nothing"),
                  absl::StrCat("for the program's own variable write $$", name));
    return "";
  }

  const SourcePosition at_;
  const VariableLookup& lookup_;
  DiagnosticSink& sink_;
};

// Programs accept more than shells do ("spring.profile").
bool IsEnvironmentName(absl::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return IsNamePart(c) || c == '.' || c == '-';
  });
}

// The end of a double-quoted value that begins behind `text`'s front.
size_t ClosingQuote(absl::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i;
    }
  }
  return absl::string_view::npos;
}

std::string Unescape(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out.push_back(text[i]);
      continue;
    }
    const char c = text[++i];
    out.push_back(c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c);
  }
  return out;
}

// What stands behind "=".
std::string EnvValue(absl::string_view raw, SourcePosition at, const VariableLookup& lookup,
                     DiagnosticSink& sink) {
  raw = absl::StripAsciiWhitespace(raw);
  if (!raw.empty() && (raw[0] == '\'' || raw[0] == '"')) {
    const bool single = raw[0] == '\'';
    const absl::string_view inner = raw.substr(1);
    const size_t end = single ? inner.find('\'') : ClosingQuote(inner);
    if (end == absl::string_view::npos) {
      sink.Error(at, "a quote without its end in the same line");
      return "";
    }
    if (single) return std::string(inner.substr(0, end));
    return Interpolate(Unescape(inner.substr(0, end)), at, lookup, sink);
  }
  const size_t comment = raw.find(" #");
  if (comment != absl::string_view::npos) {
    raw = absl::StripTrailingAsciiWhitespace(raw.substr(0, comment));
  }
  return Interpolate(std::string(raw), at, lookup, sink);
}

}  // namespace

std::string Interpolate(const std::string& text, SourcePosition at, const VariableLookup& lookup,
                        DiagnosticSink& sink) {
  if (text.find('$') == std::string::npos) return text;
  return Interpolation(at, lookup, sink).Expand(text, 0);
}

std::map<std::string, std::string> ParseEnvFile(absl::string_view text,
                                                const VariableLookup& lookup,
                                                DiagnosticSink& sink) {
  std::map<std::string, std::string> variables;
  // Later lines may refer to earlier ones.
  const VariableLookup with_earlier = [&](const std::string& name) -> std::optional<std::string> {
    const auto it = variables.find(name);
    return it != variables.end() ? it->second : lookup(name);
  };
  size_t bytes = 0;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const SourcePosition at{++number, 1};
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line[0] == '#') continue;
    absl::ConsumePrefix(&line, "export ");
    const size_t equals = line.find('=');
    const absl::string_view name =
        absl::StripAsciiWhitespace(line.substr(0, std::min(equals, line.size())));
    if (!IsEnvironmentName(name)) {
      sink.Error(at, absl::StrCat(Quote(name), " is no name of a variable"),
                 "lines are NAME=value, or begin with #");
      continue;
    }
    if (equals == absl::string_view::npos) {
      if (std::optional<std::string> value = lookup(std::string(name))) {
        variables[std::string(name)] = *value;
      }
      continue;
    }
    std::string value = EnvValue(line.substr(equals + 1), at, with_earlier, sink);
    bytes += value.size();
    if (bytes > kInterpolatedBytesMax) {
      sink.Error(at, "the values are too long with their variables filled in");
      break;
    }
    variables[std::string(name)] = std::move(value);
  }
  return variables;
}

bool IsVariableName(absl::string_view name) {
  return !name.empty() && IsNameStart(name[0]) &&
         std::all_of(name.begin(), name.end(), [](char c) { return IsNamePart(c); });
}

}  // namespace im::orchestrator
