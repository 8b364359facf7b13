#include "orchestrator/cluster_spec.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "orchestrator/spec/address_checks.h"
#include "orchestrator/spec/diagnostic_sink.h"
#include "orchestrator/spec/host_parser.h"
#include "orchestrator/spec/map_reader.h"
#include "orchestrator/spec/network_fields.h"
#include "orchestrator/spec/spec_checks.h"
#include "orchestrator/spec/variables.h"
#include "orchestrator/spec/yaml_tree.h"

namespace im::orchestrator {
namespace {

// Part of paths of sockets, which are short.
constexpr size_t kClusterNameBytesMax = 40;
constexpr size_t kDomainBytesMax = 180;  // leaves room for a host's label (RFC 1035 2.3.4)
constexpr int64_t kStartingMax = 10'000;
constexpr uint64_t kHeartbeatBytesMax = 100 << 20;

bool IsDomain(absl::string_view domain) {
  if (domain.empty() || domain.size() > kDomainBytesMax) return false;
  for (absl::string_view label : absl::StrSplit(domain, '.')) {
    if (!IsHostName(label)) return false;
  }
  return true;
}

// The directory's name made a cluster's name, as Compose does.
std::string NameOfDirectory(absl::string_view directory) {
  const size_t slash = directory.rfind('/');
  std::string name;
  for (char c : directory.substr(slash == absl::string_view::npos ? 0 : slash + 1)) {
    c = absl::ascii_tolower(c);
    if (IsHostName(std::string(1, c)) || (!name.empty() && (c == '-' || c == '_'))) {
      name.push_back(c);
    }
  }
  name.resize(std::min(name.size(), kClusterNameBytesMax));
  while (!name.empty() && !IsHostName(name)) name.pop_back();
  return name;
}

class SpecParser {
 public:
  SpecParser(const std::string& file, const std::string& base_directory,
             const SpecSources& sources)
      : sink_(file), sources_(sources) {
    spec_.path = file;
    spec_.base_directory = base_directory;
  }

  ParsedClusterSpec Parse(absl::string_view text) {
    ReadDotEnv();
    const ScalarFilter interpolate = [this](std::string value, SourcePosition at) {
      return Interpolate(value, at, lookup_, sink_);
    };
    if (const auto root = ParseYaml(text, interpolate, sink_)) ReadRoot(*root);
    ParsedClusterSpec result;
    const bool good = !sink_.has_errors();
    result.errors = sink_.TakeErrors();
    result.warnings = sink_.TakeWarnings();
    if (good) result.spec = std::move(spec_);
    return result;
  }

 private:
  void ReadDotEnv() {
    const auto text = sources_.read_file(absl::StrCat(spec_.base_directory, "/.env"));
    if (!text.ok()) return;  // an optional file
    DiagnosticSink env_sink(".env");
    dot_env_ = ParseEnvFile(*text, sources_.variable, env_sink);
    sink_.Absorb(env_sink);
  }

  void ReadRoot(const YamlNode& root) {
    if (root.kind == YamlNode::Kind::kNull) {
      sink_.Error({1, 1}, "the file is empty",
                  "the least is: hosts: {NAME: {command: [PROGRAM]}}");
      return;
    }
    MapReader reader(root, "cluster", sink_);
    if (root.kind != YamlNode::Kind::kMap) return;
    ReadName(reader);
    ReadNetwork(reader);
    ReadProvider(reader);
    ReadLimits(reader);
    ReadGroups(reader);
    reader.NotHonoured({"configs", "secrets", "include", "models"});
    reader.Ignore({"version"});
    if (const YamlNode* volumes = reader.Get("volumes")) ReadVolumes(*volumes);
    std::vector<HostDraft> drafts = ReadHosts(reader, root);
    reader.Finish();

    CheckAttachments(drafts, spec_.attach, sources_.auto_attach, sink_);
    CheckCheckpoints(drafts, spec_.groups, sources_.no_checkpoints, sink_);
    ExpandReplicas(drafts, spec_, sink_);
    CheckNames(drafts, sink_);
    if (network_is_good_) AssignAddresses(drafts, spec_, sink_);
    ResolveReferences(drafts, spec_, sink_);
    CheckGroups(spec_, sink_);
    CheckPorts(drafts, sink_);
    spec_.data_directory = absl::StrCat(DataRoot(sources_.variable), "/", spec_.name);
    spec_.volumes_directory = absl::StrCat(spec_.data_directory, "/volumes");
    spec_.checkpoints_directory = absl::StrCat(spec_.data_directory, "/checkpoints");
  }

  void ReadName(MapReader& reader) {
    const auto name = reader.Text("name");
    spec_.name = name ? *name : NameOfDirectory(spec_.base_directory);
    if (!name && spec_.name.empty()) {
      sink_.Error(reader.at(), "the cluster has no name", "write name: NAME");
    } else if (name && (!IsHostName(*name) || name->size() > kClusterNameBytesMax)) {
      sink_.Error(reader.Get("name")->at, absl::StrCat(Quote(*name), " cannot be a cluster's name"),
                  absl::StrCat("lower-case letters, digits, - and _, at most ",
                               kClusterNameBytesMax));
    }
  }

  void ReadNetwork(MapReader& reader) {
    spec_.domain = absl::StrCat(spec_.name, ".im");
    NetworkText text;
    const YamlNode* networks = reader.Get("networks");
    const NetworkText compose =
        networks == nullptr ? NetworkText() : ReadComposeNetworks(*networks, sink_);
    if (const YamlNode* node = reader.Get("network"); node == nullptr) {
      text = compose;
    } else if (node->kind == YamlNode::Kind::kScalar) {
      text.cidr = {node->scalar, node->at};
    } else {
      MapReader network(*node, "network", sink_);
      if (auto cidr = network.Text("cidr")) text.cidr = {*cidr, network.Get("cidr")->at};
      if (auto ipv6 = network.Text("ipv6")) text.ipv6 = {*ipv6, network.Get("ipv6")->at};
      if (auto domain = network.Text("domain")) {
        spec_.domain = *domain;
        if (!IsDomain(*domain)) {
          sink_.Error(network.Get("domain")->at, absl::StrCat(Quote(*domain), " is no domain"),
                      "domains look like shop.im");
        }
      }
      if (auto attach = network.Word("attach", {"auto", "tun", "netstack"})) {
        spec_.attach = static_cast<AttachMode>(*attach);
      }
      if (auto mtu = network.Integer("mtu", kHostMtuMin, kHostMtuMax)) {
        spec_.mtu = static_cast<uint32_t>(*mtu);
      }
      if (auto listen = network.Text("listen")) ReadListen(*listen, network.Get("listen")->at);
      network.NotHonoured({"dns", "upstream"});
      network.Finish();
    }
    network_is_good_ = SetNetworks(text, reader.at(), spec_, sink_);
  }

  // ADDRESS or ADDRESS:PORT. Hosts reach the gateway by IPv4 (start_requests.h).
  void ReadListen(const std::string& text, SourcePosition at) {
    const std::optional<IpAddress> alone = IpAddress::Parse(text);
    const std::optional<Endpoint> listen =
        alone ? Endpoint{*alone, kDefaultListenPort} : Endpoint::Parse(text);
    if (!listen || listen->port == 0) {
      sink_.Error(at, absl::StrCat("expected ADDRESS:PORT, found ", Quote(text)),
                  "0.0.0.0:51820 listens on all addresses of this machine");
    } else if (!listen->address.is_v4() && !listen->address.is_unspecified()) {
      sink_.Error(at, absl::StrCat(text, " cannot be reached by the hosts, which use IPv4"),
                  absl::StrCat("\"[::]:", listen->port,
                               "\" listens on all addresses, of IPv6 too"));
    } else if (listen->address.is_multicast()) {
      sink_.Error(at, absl::StrCat(text, " is no address of a machine"));
    } else {
      spec_.listen = *listen;
    }
  }

  void ReadProvider(MapReader& reader) {
    const auto provider = reader.Text("provider");
    if (!provider || *provider == "process") return;
    sink_.Error(reader.Get("provider")->at,
                absl::StrCat("provider: ", Quote(*provider), " is not available"),
                "the one there is: process");
  }

  void ReadLimits(MapReader& reader) {
    const YamlNode* node = reader.Get("limits");
    if (node == nullptr) return;
    MapReader limits(*node, "limits", sink_);
    if (auto count = limits.Integer("max_starting", 1, kStartingMax)) {
      spec_.limits.max_starting = static_cast<uint32_t>(*count);
    }
    if (auto size = limits.Size("min_free_memory")) spec_.limits.min_free_memory_bytes = *size;
    limits.Finish();
  }

  void ReadGroups(MapReader& reader) {
    const YamlNode* node = reader.Get("groups");
    if (node == nullptr) return;
    if (node->kind != YamlNode::Kind::kMap) {
      sink_.Error(node->at, absl::StrCat("groups: expected a mapping of names, found ",
                                         node->KindName()));
    }
    for (const YamlNode::Entry& entry : node->entries) {
      GroupSpec group;
      group.name = entry.key;
      group.at = entry.at;
      MapReader fields(*entry.value, absl::StrCat("group ", entry.key), sink_);
      group.suspend_together = fields.Word("suspend", {"apart", "together"}).value_or(0) == 1;
      if (const YamlNode* heartbeat = fields.Get("heartbeat")) ReadHeartbeat(*heartbeat, group);
      fields.Finish();
      spec_.groups.push_back(std::move(group));
    }
  }

  void ReadHeartbeat(const YamlNode& node, GroupSpec& group) {
    MapReader fields(node, "heartbeat", sink_);
    if (const auto bytes = fields.Size("below_bytes_per_s")) {
      if (*bytes == 0 || *bytes > kHeartbeatBytesMax) {
        sink_.Error(fields.Get("below_bytes_per_s")->at,
                    "heartbeat.below_bytes_per_s must be from 1 to 100m");
      } else {
        group.heartbeat_bytes_per_s = static_cast<uint32_t>(*bytes);
      }
    }
    if (!group.suspend_together) {
      sink_.Error(node.at, absl::StrCat("group ", group.name, ": heartbeat means nothing here"),
                  "it is for suspend: together");
    }
    fields.Finish();
  }

  // Named volumes need no declaration; Compose files have them.
  void ReadVolumes(const YamlNode& node) {
    if (node.kind != YamlNode::Kind::kMap) {
      sink_.Error(node.at, absl::StrCat("volumes: expected a mapping of names, found ",
                                        node.KindName()));
    }
    for (const YamlNode::Entry& entry : node.entries) {
      MapReader volume(*entry.value, absl::StrCat("volume ", entry.key), sink_);
      volume.NotHonoured({"driver", "driver_opts", "external", "name"},
                         "a volume is a directory of this machine");
      volume.Ignore({"labels"});
      volume.Finish();
    }
  }

  std::vector<HostDraft> ReadHosts(MapReader& reader, const YamlNode& root) {
    HostParser parser(sources_, lookup_, spec_.base_directory, sink_);
    if (const YamlNode* defaults = reader.Get("defaults")) parser.ParseDefaults(*defaults);
    std::vector<HostDraft> drafts;
    const YamlNode* hosts = reader.Get("hosts");
    const YamlNode* services = reader.Get("services");
    if (hosts != nullptr && services != nullptr) {
      sink_.Error(root.Find("services")->at, "services is another word for hosts: use one of them");
    }
    if (hosts == nullptr) hosts = services;
    if (hosts == nullptr || (hosts->kind == YamlNode::Kind::kMap && hosts->entries.empty())) {
      sink_.Error(root.at, "there are no hosts",
                  "the least is: hosts: {NAME: {command: [PROGRAM]}}");
      return drafts;
    }
    if (hosts->kind != YamlNode::Kind::kMap) {
      sink_.Error(hosts->at, absl::StrCat("hosts: expected a mapping of names, found ",
                                          hosts->KindName()));
    }
    size_t text_bytes = 0;
    for (const YamlNode::Entry& entry : hosts->entries) {
      drafts.push_back(parser.Parse(entry.key, entry.at, *entry.value));
      text_bytes += TextBytes(drafts.back().spec);
      // ExpandReplicas reports it.
      if (drafts.size() > kHostsMax || text_bytes > kHostTextBytesMax) break;
    }
    return drafts;
  }

  DiagnosticSink sink_;
  const SpecSources& sources_;
  std::map<std::string, std::string> dot_env_;
  const VariableLookup lookup_ = [this](const std::string& name) -> std::optional<std::string> {
    if (auto value = sources_.variable(name)) return value;
    const auto it = dot_env_.find(name);
    return it == dot_env_.end() ? std::nullopt : std::optional(it->second);
  };
  ClusterSpec spec_;
  bool network_is_good_ = false;
};

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return ErrnoStatus(absl::StrCat("open ", path));
  std::string text;
  // One byte more than is accepted, so that the parser sees that it is too much.
  text.resize(kSpecBytesMax + 1);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || (file.fail() && !file.eof())) return ErrnoStatus(absl::StrCat("read ", path));
  text.resize(static_cast<size_t>(file.gcount()));
  text.shrink_to_fit();
  return text;
}

}  // namespace

std::string DataRoot(
    const std::function<std::optional<std::string>(const std::string& name)>& variable) {
  const auto get = [&](const char* name) { return variable(name).value_or(""); };
  std::string root = get("IM_DATA_DIR");
  if (root.empty() && geteuid() != 0) {
    const std::string data = get("XDG_DATA_HOME");
    if (!data.empty()) root = absl::StrCat(data, "/im");
    else if (!get("HOME").empty()) root = absl::StrCat(get("HOME"), "/.local/share/im");
  }
  if (root.empty()) root = "/var/lib/im";
  std::error_code error;
  const auto absolute = std::filesystem::absolute(root, error);
  return error ? root : absolute.lexically_normal().string();
}

std::string Diagnostic::ToString() const {
  std::string text = file;
  if (at.line > 0) absl::StrAppend(&text, ":", at.line, ":", at.column);
  absl::StrAppend(&text, ": ", message);
  if (!hint.empty()) absl::StrAppend(&text, " (", hint, ")");
  return text;
}

std::optional<HostSpec> ClusterSpec::FindHost(absl::string_view host) const {
  for (const HostSpec& candidate : hosts) {
    if (candidate.name == host) return candidate;
  }
  return std::nullopt;
}

SpecSources SpecSources::Real() {
  SpecSources sources;
  sources.read_file = ReadFile;
  sources.variable = [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
  sources.image = [variable = sources.variable](const std::string& name) {
    return ImageStore(ImageRoot(DataRoot(variable))).Find(name);
  };
  return sources;
}

ParsedClusterSpec ParseClusterSpec(absl::string_view text, const std::string& file,
                                   const std::string& base_directory, const SpecSources& sources) {
  return SpecParser(file, base_directory, sources).Parse(text);
}

ParsedClusterSpec LoadClusterSpec(const std::string& path, const SpecSources& sources) {
  const auto fail = [&](std::string message) {
    ParsedClusterSpec result;
    result.errors.push_back({path, {}, std::move(message), ""});
    return result;
  };
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return fail("is a directory; a cluster.yaml is expected");
  }
  const auto text = ReadFile(path);
  if (!text.ok()) return fail(std::string(text.status().message()));
  const auto directory = std::filesystem::absolute(path, error).parent_path().lexically_normal();
  return ParseClusterSpec(*text, path, directory.string(), sources);
}

}  // namespace im::orchestrator
