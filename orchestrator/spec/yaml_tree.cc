#include "orchestrator/spec/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <optional>
#include <sstream>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace im::orchestrator {
namespace {

SourcePosition PositionOf(const YAML::Mark& mark) { return {mark.line + 1, mark.column + 1}; }

SourcePosition PositionOf(absl::string_view text, size_t offset) {
  SourcePosition at{1, 1};
  for (char c : text.substr(0, offset)) {
    if (c == '\n') {
      ++at.line;
      at.column = 1;
    } else {
      ++at.column;
    }
  }
  return at;
}

// Bytes of the UTF-8 sequence at the front (RFC 3629); 0: not one.
size_t Utf8SequenceSize(absl::string_view s) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(s[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  size_t size = 0;
  uint32_t code = 0;
  uint32_t least = 0;
  if ((first & 0xe0) == 0xc0) {
    size = 2, code = first & 0x1f, least = 0x80;
  } else if ((first & 0xf0) == 0xe0) {
    size = 3, code = first & 0x0f, least = 0x800;
  } else if ((first & 0xf8) == 0xf0) {
    size = 4, code = first & 0x07, least = 0x10000;
  } else {
    return 0;
  }
  if (s.size() < size) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  const bool surrogate = code >= 0xd800 && code <= 0xdfff;
  return code < least || code > 0x10ffff || surrogate ? 0 : size;
}

// The first byte that is no part of a text file.
std::optional<size_t> FirstBadByte(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const uint8_t c = static_cast<uint8_t>(text[i]);
    if ((c < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f) return i;
    const size_t size = Utf8SequenceSize(text.substr(i));
    if (size == 0) return i;
    i += size;
  }
  return std::nullopt;
}

// yaml-cpp's complaint about a tab is about what follows from it.
std::string HintOfSyntaxError(absl::string_view text) {
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const size_t content = line.find_first_not_of(" \t");
    const size_t tab = line.find('\t');
    if (tab != absl::string_view::npos && content != absl::string_view::npos && tab < content) {
      return absl::StrCat("line ", number, " is indented with a tab: YAML wants spaces");
    }
  }
  return "";
}

// Thrown out of yaml-cpp's parser by the handler when a limit is met.
struct Refused {
  SourcePosition at;
  std::string message;
};

class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(const ScalarFilter& filter, DiagnosticSink& sink) : filter_(filter), sink_(sink) {}

  std::shared_ptr<const YamlNode> root() const { return root_; }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    AddLeaf(mark, YamlNode::Kind::kNull, "", anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                const std::string& value) override {
    AddLeaf(mark, YamlNode::Kind::kScalar, value, anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto it = anchors_.find(anchor);
    if (it == anchors_.end()) {
      throw Refused{PositionOf(mark), "an alias inside of what it stands for"};
    }
    Count(mark, it->second->weight);
    Add(it->second, PositionOf(mark));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, YamlNode::Kind::kSequence, anchor);
  }
  void OnSequenceEnd() override { Close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, YamlNode::Kind::kMap, anchor);
  }
  void OnMapEnd() override { Close(); }

 private:
  struct Frame {
    std::shared_ptr<YamlNode> node;
    YAML::anchor_t anchor = 0;
    bool has_key = false;
    std::string key;
    SourcePosition key_at;
    absl::flat_hash_map<std::string, SourcePosition> keys;
    std::vector<std::pair<SourcePosition, std::shared_ptr<const YamlNode>>> merges;
  };

  void Count(const YAML::Mark& mark, size_t weight) {
    weight_ += weight;
    if (weight_ > kYamlWeightMax) {
      throw Refused{PositionOf(mark), "too much, counting what aliases stand for"};
    }
  }

  void AddLeaf(const YAML::Mark& mark, YamlNode::Kind kind, const std::string& text,
               YAML::anchor_t anchor) {
    auto node = std::make_shared<YamlNode>();
    node->kind = kind;
    node->at = PositionOf(mark);
    const bool is_key = !frames_.empty() &&
                        frames_.back().node->kind == YamlNode::Kind::kMap &&
                        !frames_.back().has_key;
    node->scalar = is_key || kind == YamlNode::Kind::kNull ? text : filter_(text, node->at);
    node->weight = 1 + node->scalar.size() / 16;
    Count(mark, node->weight);
    Remember(anchor, node);
    Add(node, node->at);
  }

  void Open(const YAML::Mark& mark, YamlNode::Kind kind, YAML::anchor_t anchor) {
    Count(mark, 1);
    if (frames_.size() >= kYamlDepthMax) {
      throw Refused{PositionOf(mark),
                    absl::StrCat("more than ", kYamlDepthMax, " levels inside one another")};
    }
    if (!frames_.empty() && frames_.back().node->kind == YamlNode::Kind::kMap &&
        !frames_.back().has_key) {
      throw Refused{PositionOf(mark), "a key must be a word, not a list or a mapping"};
    }
    Frame frame;
    frame.node = std::make_shared<YamlNode>();
    frame.node->kind = kind;
    frame.node->at = PositionOf(mark);
    frame.anchor = anchor;
    frames_.push_back(std::move(frame));
  }

  void Close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    for (auto& [at, source] : frame.merges) Merge(frame, at, *source);
    Remember(frame.anchor, frame.node);
    Add(frame.node, frame.node->at);
  }

  void Remember(YAML::anchor_t anchor, std::shared_ptr<const YamlNode> node) {
    if (anchor == 0) return;
    if (anchors_.size() >= kYamlAnchorsMax) {
      throw Refused{node->at, absl::StrCat("more than ", kYamlAnchorsMax, " anchors")};
    }
    anchors_[anchor] = std::move(node);
  }

  void Add(std::shared_ptr<const YamlNode> node, SourcePosition at) {
    if (frames_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = frames_.back();
    if (frame.node->kind == YamlNode::Kind::kSequence) {
      frame.node->weight += node->weight;
      frame.node->items.push_back(std::move(node));
    } else if (!frame.has_key) {
      SetKey(frame, *node, at);
    } else {
      frame.has_key = false;
      frame.node->weight += node->weight;
      AddEntry(frame, std::move(node));
    }
  }

  static void SetKey(Frame& frame, const YamlNode& node, SourcePosition at) {
    if (node.kind == YamlNode::Kind::kSequence || node.kind == YamlNode::Kind::kMap) {
      throw Refused{at, "a key must be a word, not a list or a mapping"};
    }
    frame.has_key = true;
    frame.key = node.scalar;
    frame.key_at = at;
  }

  void AddEntry(Frame& frame, std::shared_ptr<const YamlNode> node) {
    if (frame.key == "<<") {
      frame.merges.emplace_back(frame.key_at, std::move(node));
      return;
    }
    const auto [first, is_new] = frame.keys.try_emplace(frame.key, frame.key_at);
    if (!is_new) {
      sink_.Error(frame.key_at,
                  absl::StrCat(Quote(frame.key), " stands here for the second time"),
                  absl::StrCat("the first is in line ", first->second.line));
      return;
    }
    frame.node->entries.push_back({std::move(frame.key), frame.key_at, std::move(node)});
  }

  // YAML's merge key: entries of `source` that the map itself does not have.
  void Merge(Frame& frame, SourcePosition at, const YamlNode& source) {
    if (source.kind == YamlNode::Kind::kSequence) {
      for (const auto& item : source.items) {
        if (item->kind == YamlNode::Kind::kMap) {
          Merge(frame, at, *item);
        } else {
          sink_.Error(at, "\"<<\" needs a mapping, or a list of mappings");
        }
      }
    } else if (source.kind == YamlNode::Kind::kMap) {
      for (const YamlNode::Entry& entry : source.entries) {
        if (frame.keys.try_emplace(entry.key, entry.at).second) {
          frame.node->entries.push_back(entry);
        }
      }
    } else {
      sink_.Error(at, "\"<<\" needs a mapping, or a list of mappings");
    }
  }

  const ScalarFilter& filter_;
  DiagnosticSink& sink_;
  std::vector<Frame> frames_;
  absl::flat_hash_map<YAML::anchor_t, std::shared_ptr<const YamlNode>> anchors_;
  std::shared_ptr<const YamlNode> root_;
  size_t weight_ = 0;
};

}  // namespace

const YamlNode::Entry* YamlNode::Find(absl::string_view key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

absl::string_view YamlNode::KindName() const {
  switch (kind) {
    case Kind::kNull: return "nothing";
    case Kind::kScalar: return "text";
    case Kind::kSequence: return "a list";
    case Kind::kMap: return "a mapping";
  }
  return "";
}

std::shared_ptr<const YamlNode> ParseYaml(absl::string_view text, const ScalarFilter& filter,
                                          DiagnosticSink& sink) {
  if (text.size() > kSpecBytesMax) {
    sink.Error({1, 1}, absl::StrCat("the file has ", text.size(), " bytes; at most ",
                                    kSpecBytesMax, " are read"));
    return nullptr;
  }
  if (const std::optional<size_t> bad = FirstBadByte(text)) {
    sink.Error(PositionOf(text, *bad),
               absl::StrFormat("byte 0x%02x is not part of a text in UTF-8",
                               static_cast<uint8_t>(text[*bad])));
    return nullptr;
  }
  TreeBuilder builder(filter, sink);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    if (parser.HandleNextDocument(builder)) {
      TreeBuilder ignored(filter, sink);
      if (builder.root() != nullptr && parser.HandleNextDocument(ignored) &&
          ignored.root() != nullptr && ignored.root()->kind != YamlNode::Kind::kNull) {
        sink.Error(ignored.root()->at, "a second document begins here",
                   "one file describes one cluster");
      }
    }
  } catch (const Refused& refused) {
    sink.Error(refused.at, refused.message);
    return nullptr;
  } catch (const YAML::Exception& e) {
    sink.Error(PositionOf(e.mark), absl::StrCat("not YAML: ", e.msg), HintOfSyntaxError(text));
    return nullptr;
  }
  if (builder.root() == nullptr) return std::make_shared<YamlNode>();
  return builder.root();
}

}  // namespace im::orchestrator
