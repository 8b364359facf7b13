// MapReader: the fields of one mapping, read by name and type.
//
// Every field that is asked for is thereby known; Finish() reports the others
// with the nearest known name. A field of the wrong type is reported and
// counts as absent, so that reading goes on.

#ifndef IM_ORCHESTRATOR_SPEC_MAP_READER_H_
#define IM_ORCHESTRATOR_SPEC_MAP_READER_H_

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "orchestrator/spec/diagnostic_sink.h"
#include "orchestrator/spec/yaml_tree.h"

namespace im::orchestrator {

// Values alone. Each returns nullopt after reporting what was expected.
std::optional<std::string> ReadText(const YamlNode& node, DiagnosticSink& sink);
std::optional<int64_t> ReadInteger(const YamlNode& node, int64_t least, int64_t most,
                                   DiagnosticSink& sink);
std::optional<bool> ReadBool(const YamlNode& node, DiagnosticSink& sink);
std::optional<Duration> ReadDuration(const YamlNode& node, DiagnosticSink& sink);
std::optional<uint64_t> ReadSize(const YamlNode& node, DiagnosticSink& sink);
// One text, or a list of texts.
std::vector<std::pair<std::string, SourcePosition>> ReadTexts(const YamlNode& node,
                                                              DiagnosticSink& sink);
// A list as it is; a text split as a shell would.
std::optional<std::vector<std::string>> ReadCommand(const YamlNode& node, DiagnosticSink& sink);

class MapReader {
 public:
  // `what` is named in messages: "host web", "idle". If `node` is no mapping
  // that is reported, and nothing is found in it. `node` must outlive this.
  MapReader(const YamlNode& node, std::string what, DiagnosticSink& sink);

  SourcePosition at() const { return node_.at; }
  DiagnosticSink& sink() { return sink_; }

  // The field's value; nullptr if it is absent or empty ("field:").
  const YamlNode* Get(absl::string_view field);
  // The same, with the key's position.
  const YamlNode::Entry* GetEntry(absl::string_view field);

  std::optional<std::string> Text(absl::string_view field);
  std::optional<int64_t> Integer(absl::string_view field, int64_t least, int64_t most);
  std::optional<bool> Bool(absl::string_view field);
  std::optional<Duration> Time(absl::string_view field);
  std::optional<uint64_t> Size(absl::string_view field);
  // The index of the text among `words`.
  std::optional<int> Word(absl::string_view field, std::initializer_list<absl::string_view> words);

  // Fields that are known and mean nothing to us: read silently.
  void Ignore(std::initializer_list<absl::string_view> fields);
  // Fields that are known and not honoured: a warning for each that is there.
  void NotHonoured(std::initializer_list<absl::string_view> fields, absl::string_view why = "");

  // Reports what nobody asked for. Keys that begin with "x-" are the user's.
  void Finish();

 private:
  const YamlNode& node_;
  const std::string what_;
  DiagnosticSink& sink_;
  std::vector<absl::string_view> known_;
  std::vector<absl::string_view> not_honoured_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_SPEC_MAP_READER_H_
