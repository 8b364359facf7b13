// HostParser: one entry of `hosts:`, field by field, into a HostDraft.
//
// A draft is a host before replicas are expanded, addresses given out and
// names looked up (spec_checks.h). `defaults:` is read into a draft too, which
// every host then begins as a copy of.

#ifndef IM_ORCHESTRATOR_SPEC_HOST_PARSER_H_
#define IM_ORCHESTRATOR_SPEC_HOST_PARSER_H_

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "orchestrator/cluster_spec.h"
#include "orchestrator/spec/diagnostic_sink.h"
#include "orchestrator/spec/map_reader.h"
#include "orchestrator/spec/variables.h"
#include "orchestrator/spec/yaml_tree.h"

namespace im::orchestrator {

// A name of another host or group, and where it stands.
struct Reference {
  std::string name;
  SourcePosition at;
};

struct Dependency : Reference {
  DependencySpec::Condition condition = DependencySpec::Condition::kStarted;
};

struct HostDraft {
  HostSpec spec;  // name, service and at are set; address, wake_with, depends_on, group are not
  std::optional<int64_t> replicas;  // as given
  SourcePosition replicas_at;
  std::optional<AttachMode> attach;  // as given
  bool working_dir_given = false;
  bool stop_signal_given = false;
  bool start_timeout_given = false;
  std::optional<SourcePosition> image_at;  // of one that is run
  // Where fields stand that need namespaces; none: not given.
  std::optional<SourcePosition> volumes_at;
  std::optional<SourcePosition> tmpfs_at;
  std::optional<SourcePosition> hostname_at;
  SourcePosition on_release_at;
  SourcePosition max_lifetime_at;
  SourcePosition checkpoint_expires_at;
  int64_t min_running = 0;
  std::optional<IpAddress> address;  // as given
  SourcePosition address_at;
  bool address_of_compose = false;  // meant for a network of the file's own
  std::optional<IpAddress> address6;  // as given, for a network of the file's own
  SourcePosition address6_at;
  std::vector<Reference> wake_with;
  std::vector<Dependency> depends_on;
  std::optional<Reference> group;
};

inline int64_t ReplicaCount(const HostDraft& draft) { return draft.replicas.value_or(1); }
// The name of one of its hosts; the first has number 1.
inline std::string HostName(const HostDraft& draft, int64_t number) {
  return draft.replicas ? absl::StrCat(draft.spec.name, "-", number) : draft.spec.name;
}

class HostParser {
 public:
  HostParser(const SpecSources& sources, VariableLookup lookup, std::string base_directory,
             DiagnosticSink& sink)
      : sources_(sources),
        lookup_(std::move(lookup)),
        base_directory_(std::move(base_directory)),
        sink_(sink) {}

  // `defaults:`; what belongs to a single host is refused there.
  void ParseDefaults(const YamlNode& node);

  HostDraft Parse(const std::string& name, SourcePosition at, const YamlNode& node);

 private:
  void ReadShared(MapReader& reader, HostDraft& draft);
  void ReadAge(const YamlNode& node, const char* field, std::optional<Duration>& age);
  void ReadOwn(MapReader& reader, const std::optional<StoredImage>& image, HostDraft& draft);
  // image_fields.cc: the image, and what it says where the host says nothing.
  std::optional<StoredImage> ReadImage(MapReader& reader, HostDraft& draft);
  void ReadCommands(MapReader& reader, const std::optional<StoredImage>& image, HostSpec& host);
  void FillFromImage(const StoredImage& image, HostDraft& draft);
  void ReadAttach(const YamlNode& node, HostDraft& draft);
  void ReadRestart(const YamlNode& node, HostSpec& host);
  void ReadDeploy(const YamlNode& node, HostDraft& draft);
  void ReadReplicas(const YamlNode& node, HostDraft& draft);
  void ReadNames(MapReader& reader, HostDraft& draft);
  // `v6`: of which family it has to be.
  std::optional<IpAddress> ReadAddress(const YamlNode& node, absl::string_view field, bool v6);
  void ReadAliases(const YamlNode& node, HostSpec& host);
  // Compose's: a list of names, or a mapping of them to aliases and addresses.
  void ReadNetworks(const YamlNode& node, HostDraft& draft);

  // readiness_fields.cc: when it is up, and what it needs before.
  void ReadStartTimeout(MapReader& reader, HostDraft& draft);
  void ReadHealthcheck(const YamlNode& node, HostSpec& host);
  void ReadDependencies(const YamlNode& node, HostDraft& draft);
  static void FillStartTimeout(HostDraft& draft);

  // idle_fields.cc
  void ReadIdle(const YamlNode& node, IdleSpec& idle);

  // program_fields.cc: what the program is run with.
  void ReadProgram(MapReader& reader, HostSpec& host);
  void ReadEnvironment(MapReader& reader, HostSpec& host);
  void ReadEnvFile(const std::string& path, SourcePosition at, bool required, HostSpec& host);
  void ReadUser(const YamlNode& node, HostSpec& host);
  void ReadStopSignal(const YamlNode& node, HostSpec& host);
  // "SIGTERM" of "15", "TERM" and "SIGTERM".
  static std::optional<std::string> SignalName(absl::string_view text);
  void ReadUlimits(const YamlNode& node, HostSpec& host);
  void ReadCpus(const YamlNode& node, HostSpec& host);
  void ReadLogging(const YamlNode& node, LogSpec& logging);
  std::string Absolute(const std::string& path) const;

  const SpecSources& sources_;
  const VariableLookup lookup_;
  const std::string base_directory_;
  DiagnosticSink& sink_;
  HostDraft defaults_;
};

// Lower-case letters, digits, "-" and "_", a letter or digit at both ends, at
// most 63 bytes: a label of a domain name, and a directory's name.
bool IsHostName(absl::string_view name);
inline constexpr char kHostNameHint[] =
    "names are of lower-case letters, digits, - and _, at most 63, with a letter or digit "
    "at both ends";

// port_parser.cc: an item of `ports:`; nullopt after a diagnostic.
std::optional<PublishedPort> ParsePort(const YamlNode& node, DiagnosticSink& sink);

// mount_parser.cc: an item of `volumes:`; nullopt after a diagnostic.
std::optional<MountSpec> ParseMount(const YamlNode& node, const std::string& base_directory,
                                    DiagnosticSink& sink);
// An item of `tmpfs:`.
std::optional<MountSpec> ParseTmpfs(const std::string& text, SourcePosition at,
                                    DiagnosticSink& sink);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_SPEC_HOST_PARSER_H_
