#include "orchestrator/spec/map_reader.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "orchestrator/spec/shell_split.h"
#include "orchestrator/spec/units.h"

namespace im::orchestrator {
namespace {

constexpr char kDurationHint[] = "durations look like 500ms, 5s, 1m30s, 2h";
constexpr char kSizeHint[] = "sizes look like 512k, 64m, 1.5g";

std::string Found(const YamlNode& node) {
  return node.kind == YamlNode::Kind::kScalar ? Quote(node.scalar) : std::string(node.KindName());
}

}  // namespace

std::optional<std::string> ReadText(const YamlNode& node, DiagnosticSink& sink) {
  if (node.kind == YamlNode::Kind::kScalar) return node.scalar;
  sink.Error(node.at, absl::StrCat("expected text, found ", node.KindName()));
  return std::nullopt;
}

std::optional<int64_t> ReadInteger(const YamlNode& node, int64_t least, int64_t most,
                                   DiagnosticSink& sink) {
  int64_t value = 0;
  if (node.kind == YamlNode::Kind::kScalar && absl::SimpleAtoi(node.scalar, &value) &&
      value >= least && value <= most) {
    return value;
  }
  sink.Error(node.at, absl::StrCat("expected a whole number from ", least, " to ", most,
                                   ", found ", Found(node)));
  return std::nullopt;
}

std::optional<bool> ReadBool(const YamlNode& node, DiagnosticSink& sink) {
  if (node.kind == YamlNode::Kind::kScalar) {
    if (std::optional<bool> value = ParseBool(node.scalar)) return value;
  }
  sink.Error(node.at, absl::StrCat("expected true or false, found ", Found(node)));
  return std::nullopt;
}

std::optional<Duration> ReadDuration(const YamlNode& node, DiagnosticSink& sink) {
  if (node.kind == YamlNode::Kind::kScalar) {
    if (std::optional<Duration> value = ParseDuration(node.scalar)) return value;
    int64_t bare = 0;
    if (absl::SimpleAtoi(node.scalar, &bare) && bare > 0) {
      sink.Error(node.at, absl::StrCat("the duration ", Quote(node.scalar), " has no unit"),
                 absl::StrCat(bare, "s, or ", bare, "ms?"));
      return std::nullopt;
    }
  }
  sink.Error(node.at, absl::StrCat("expected a duration of at most 49 days, found ", Found(node)),
             kDurationHint);
  return std::nullopt;
}

std::optional<uint64_t> ReadSize(const YamlNode& node, DiagnosticSink& sink) {
  if (node.kind == YamlNode::Kind::kScalar) {
    if (std::optional<uint64_t> value = ParseSize(node.scalar)) return value;
  }
  sink.Error(node.at, absl::StrCat("expected a size, found ", Found(node)), kSizeHint);
  return std::nullopt;
}

std::vector<std::pair<std::string, SourcePosition>> ReadTexts(const YamlNode& node,
                                                              DiagnosticSink& sink) {
  std::vector<std::pair<std::string, SourcePosition>> texts;
  if (node.kind == YamlNode::Kind::kScalar) {
    texts.emplace_back(node.scalar, node.at);
  } else if (node.kind == YamlNode::Kind::kSequence) {
    for (const auto& item : node.items) {
      if (std::optional<std::string> text = ReadText(*item, sink)) {
        texts.emplace_back(std::move(*text), item->at);
      }
    }
  } else {
    sink.Error(node.at, absl::StrCat("expected text or a list of texts, found ", node.KindName()));
  }
  return texts;
}

std::optional<std::vector<std::string>> ReadCommand(const YamlNode& node, DiagnosticSink& sink) {
  if (node.kind == YamlNode::Kind::kScalar) {
    auto words = ShellSplit(node.scalar);
    if (!words.ok()) {
      sink.Error(node.at, std::string(words.status().message()));
      return std::nullopt;
    }
    const std::string op = ShellOperatorIn(*words);
    if (!op.empty()) {
      sink.Warning(node.at, absl::StrCat("\"", op, "\" is handed to the program: no shell reads it"),
                   "for a shell write [sh, -c, \"...\"]");
    }
    return *std::move(words);
  }
  if (node.kind != YamlNode::Kind::kSequence) {
    sink.Error(node.at, absl::StrCat("expected a command line or a list, found ", node.KindName()));
    return std::nullopt;
  }
  std::vector<std::string> words;
  for (const auto& item : node.items) {
    if (item->kind == YamlNode::Kind::kNull) {
      words.emplace_back();
    } else if (std::optional<std::string> word = ReadText(*item, sink)) {
      words.push_back(std::move(*word));
    }
  }
  return words;
}

MapReader::MapReader(const YamlNode& node, std::string what, DiagnosticSink& sink)
    : node_(node), what_(std::move(what)), sink_(sink) {
  if (node.kind != YamlNode::Kind::kMap && node.kind != YamlNode::Kind::kNull) {
    sink.Error(node.at, absl::StrCat(what_, ": expected a mapping of fields, found ",
                                     node.KindName()));
  }
}

const YamlNode::Entry* MapReader::GetEntry(absl::string_view field) {
  known_.push_back(field);
  const YamlNode::Entry* entry = node_.Find(field);
  return entry != nullptr && entry->value->kind != YamlNode::Kind::kNull ? entry : nullptr;
}

const YamlNode* MapReader::Get(absl::string_view field) {
  const YamlNode::Entry* entry = GetEntry(field);
  return entry != nullptr ? entry->value.get() : nullptr;
}

std::optional<std::string> MapReader::Text(absl::string_view field) {
  const YamlNode* node = Get(field);
  return node != nullptr ? ReadText(*node, sink_) : std::nullopt;
}

std::optional<int64_t> MapReader::Integer(absl::string_view field, int64_t least, int64_t most) {
  const YamlNode* node = Get(field);
  return node != nullptr ? ReadInteger(*node, least, most, sink_) : std::nullopt;
}

std::optional<bool> MapReader::Bool(absl::string_view field) {
  const YamlNode* node = Get(field);
  return node != nullptr ? ReadBool(*node, sink_) : std::nullopt;
}

std::optional<Duration> MapReader::Time(absl::string_view field) {
  const YamlNode* node = Get(field);
  return node != nullptr ? ReadDuration(*node, sink_) : std::nullopt;
}

std::optional<uint64_t> MapReader::Size(absl::string_view field) {
  const YamlNode* node = Get(field);
  return node != nullptr ? ReadSize(*node, sink_) : std::nullopt;
}

std::optional<int> MapReader::Word(absl::string_view field,
                                   std::initializer_list<absl::string_view> words) {
  const YamlNode* node = Get(field);
  if (node == nullptr) return std::nullopt;
  if (node->kind == YamlNode::Kind::kScalar) {
    const auto it = std::find(words.begin(), words.end(), node->scalar);
    if (it != words.end()) return static_cast<int>(it - words.begin());
  }
  sink_.Error(node->at, absl::StrCat(field, ": expected ", absl::StrJoin(words, " or "),
                                     ", found ", Found(*node)));
  return std::nullopt;
}

void MapReader::Ignore(std::initializer_list<absl::string_view> fields) {
  not_honoured_.insert(not_honoured_.end(), fields);
}

void MapReader::NotHonoured(std::initializer_list<absl::string_view> fields,
                            absl::string_view why) {
  for (absl::string_view field : fields) {
    not_honoured_.push_back(field);
    if (const YamlNode::Entry* entry = node_.Find(field)) {
      sink_.Warning(entry->at, absl::StrCat(what_, ": ", field, " is not honoured yet"),
                    std::string(why));
    }
  }
}

void MapReader::Finish() {
  for (const YamlNode::Entry& entry : node_.entries) {
    const auto is = [&](absl::string_view name) { return name == entry.key; };
    if (std::any_of(known_.begin(), known_.end(), is) ||
        std::any_of(not_honoured_.begin(), not_honoured_.end(), is) ||
        absl::StartsWith(entry.key, "x-")) {
      continue;
    }
    // What is honoured is proposed first.
    absl::string_view nearest = Nearest(entry.key, known_);
    if (nearest.empty()) nearest = Nearest(entry.key, not_honoured_);
    sink_.Error(entry.at, absl::StrCat(what_, ": unknown field ", Quote(entry.key)),
                nearest.empty() ? absl::StrCat("known are ", absl::StrJoin(known_, ", "))
                                : absl::StrCat("did you mean \"", nearest, "\"?"));
  }
}

}  // namespace im::orchestrator
