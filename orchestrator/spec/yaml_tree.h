// YamlNode: a YAML document as a tree that knows its lines and columns.
//
// Built from yaml-cpp's events rather than its node graph, because we need
// what the graph forgets or allows: the position of every key, keys that are
// written twice, and bounds on what a hostile file may cost. Aliases share the
// anchored subtree; what they would expand to is counted, so that a small file
// cannot stand for a huge one. Merge keys ("<<") are resolved.

#ifndef IM_ORCHESTRATOR_SPEC_YAML_TREE_H_
#define IM_ORCHESTRATOR_SPEC_YAML_TREE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/spec/diagnostic_sink.h"

namespace im::orchestrator {

// Maps and lists inside one another; a cluster.yaml needs seven.
inline constexpr int kYamlDepthMax = 32;
// Weight of a document with all aliases expanded: each value counts one, and
// one more for every 16 bytes of text. 20,000 hosts of 50 words each fit; so
// does whatever a file of kSpecBytesMax says without aliases.
inline constexpr size_t kYamlWeightMax = 5'000'000;
// Anchors of a document: each keeps a subtree alive.
inline constexpr size_t kYamlAnchorsMax = 1'000;

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };
  struct Entry {
    std::string key;
    SourcePosition at;  // of the key
    std::shared_ptr<const YamlNode> value;
  };

  Kind kind = Kind::kNull;
  SourcePosition at;
  std::string scalar;
  std::vector<std::shared_ptr<const YamlNode>> items;  // of a sequence
  std::vector<Entry> entries;                          // of a map, each key once
  size_t weight = 1;                                   // of this and all below

  const Entry* Find(absl::string_view key) const;
  // "a list", "a mapping", "text", "nothing".
  absl::string_view KindName() const;
};

// Called for each scalar that is not a key; returns what is put in its place.
using ScalarFilter = std::function<std::string(std::string text, SourcePosition at)>;

// nullptr if the text is no YAML at all or beyond a limit; the reason is then
// in `sink`. Mistakes that leave the structure known (a key written twice) are
// reported too, and the tree returned.
std::shared_ptr<const YamlNode> ParseYaml(absl::string_view text, const ScalarFilter& filter,
                                          DiagnosticSink& sink);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_SPEC_YAML_TREE_H_
