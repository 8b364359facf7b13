#include "orchestrator/spec/host_parser.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "orchestrator/spec/units.h"

namespace im::orchestrator {
namespace {

constexpr size_t kHostNameBytesMax = 63;  // RFC 1035 2.3.4
// Each move is a pause for whoever uses the host.
constexpr Duration kAgeMin = std::chrono::seconds(10);

// Fields that only a single host can have.
constexpr absl::string_view kOwnFields[] = {
    "command",  "entrypoint", "image",      "ports",     "hostname",     "aliases", "address",
    "replicas", "scale",      "depends_on", "wake_with", "ipv4_address", "deploy",  "networks"};

}  // namespace

bool IsHostName(absl::string_view name) {
  const auto is_word = [](char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); };
  return !name.empty() && name.size() <= kHostNameBytesMax && is_word(name.front()) &&
         is_word(name.back()) && std::all_of(name.begin(), name.end(), [&](char c) {
           return is_word(c) || c == '-' || c == '_';
         });
}

void HostParser::ParseDefaults(const YamlNode& node) {
  MapReader reader(node, "defaults", sink_);
  for (absl::string_view field : kOwnFields) {
    const YamlNode::Entry* entry = node.Find(field);
    if (entry == nullptr) continue;
    reader.Ignore({field});
    sink_.Error(entry->at, absl::StrCat("defaults: ", field, " belongs to a single host"));
  }
  ReadShared(reader, defaults_);
  reader.Finish();
}

HostDraft HostParser::Parse(const std::string& name, SourcePosition at, const YamlNode& node) {
  HostDraft draft = defaults_;
  draft.spec.name = name;
  draft.spec.service = name;
  draft.spec.at = at;
  if (!IsHostName(name)) {
    std::string lower = name;
    absl::AsciiStrToLower(&lower);
    sink_.Error(at, absl::StrCat(Quote(name), " cannot be a host's name"),
                IsHostName(lower) ? absl::StrCat("write ", lower) : kHostNameHint);
  }
  MapReader reader(node, absl::StrCat("host ", name), sink_);
  const std::optional<StoredImage> image = ReadImage(reader, draft);
  ReadOwn(reader, image, draft);
  ReadShared(reader, draft);
  if (image) FillFromImage(*image, draft);
  FillStartTimeout(draft);
  reader.Finish();
  if (draft.spec.argv.empty() || draft.spec.argv[0].empty()) {
    const YamlNode::Entry* entry = node.Find("command");
    // That the image is not there is what was said.
    if (image || node.Find("image") == nullptr || entry != nullptr) {
      sink_.Error(entry != nullptr ? entry->at : at,
                  absl::StrCat("host ", name, ": there is no command to run",
                               image ? ", nor does its image name one" : ""),
                  "write command: [PROGRAM, ARGUMENT, ...]");
    }
  }
  return draft;
}

void HostParser::ReadShared(MapReader& reader, HostDraft& draft) {
  HostSpec& host = draft.spec;
  ReadProgram(reader, host);
  draft.working_dir_given |= reader.Get("working_dir") != nullptr;
  draft.stop_signal_given |= reader.Get("stop_signal") != nullptr;
  if (const YamlNode* node = reader.Get("attach")) ReadAttach(*node, draft);
  if (const YamlNode::Entry* entry = reader.GetEntry("volumes")) draft.volumes_at = entry->at;
  if (const YamlNode::Entry* entry = reader.GetEntry("tmpfs")) draft.tmpfs_at = entry->at;
  if (const YamlNode* node = reader.Get("idle")) ReadIdle(*node, host.idle);
  if (const YamlNode* node = reader.Get("restart")) ReadRestart(*node, host);
  if (const YamlNode::Entry* entry = reader.GetEntry("on_release")) {
    draft.on_release_at = entry->value->at;
    host.on_release = reader.Word("on_release", {"terminate", "checkpoint"}) == 1
                          ? OnRelease::kCheckpoint
                          : OnRelease::kTerminate;
  }
  if (const YamlNode* node = reader.Get("max_lifetime")) {
    draft.max_lifetime_at = node->at;
    ReadAge(*node, "max_lifetime", host.max_lifetime);
  }
  if (const YamlNode* node = reader.Get("checkpoint_expires")) {
    draft.checkpoint_expires_at = node->at;
    ReadAge(*node, "checkpoint_expires", host.checkpoint_expires);
  }
  ReadStartTimeout(reader, draft);
  if (const YamlNode* node = reader.Get("healthcheck")) ReadHealthcheck(*node, host);
  if (auto count = reader.Integer("min_running", 0, kHostsMax)) draft.min_running = *count;
  if (const YamlNode* node = reader.Get("group")) {
    if (auto name = ReadText(*node, sink_)) draft.group = Reference{*name, node->at};
  }
  reader.NotHonoured({"max_running"});
  reader.NotHonoured({"network_mode", "links", "external_links", "extra_hosts", "dns",
                      "dns_search", "dns_opt", "mac_address"},
                     "every host is in the cluster's one network; address and aliases are ours");
  reader.NotHonoured(
      {"build", "extends", "profiles", "configs", "secrets", "cap_add", "cap_drop", "privileged",
       "security_opt", "read_only", "devices", "sysctls", "shm_size", "pids_limit", "pid", "ipc",
       "uts", "userns_mode", "cgroup", "cgroup_parent", "cpu_shares", "cpu_quota", "cpu_period",
       "cpuset", "cpu_count", "cpu_percent", "cpu_rt_runtime", "cpu_rt_period", "mem_reservation",
       "mem_swappiness", "memswap_limit", "oom_kill_disable", "oom_score_adj", "platform",
       "runtime", "volumes_from", "group_add", "blkio_config", "device_cgroup_rules", "gpus",
       "isolation", "storage_opt", "credential_spec", "post_start", "pre_stop", "develop",
       "provider", "use_api_socket", "models", "domainname"});
  // Without a meaning where a host is a process that nobody watches.
  reader.Ignore({"container_name", "labels", "label_file", "annotations", "expose", "init", "tty",
                 "stdin_open", "pull_policy"});
}

void HostParser::ReadAge(const YamlNode& node, const char* field, std::optional<Duration>& age) {
  if (node.kind == YamlNode::Kind::kScalar && node.scalar == "never") return age.reset();
  const std::optional<Duration> time = ReadDuration(node, sink_);
  if (!time) return;
  if (*time < kAgeMin) return sink_.Error(node.at, absl::StrCat(field, " must be 10s or more"));
  age = *time;
}

void HostParser::ReadOwn(MapReader& reader, const std::optional<StoredImage>& image,
                         HostDraft& draft) {
  HostSpec& host = draft.spec;
  ReadCommands(reader, image, host);
  if (const YamlNode* node = reader.Get("ports")) {
    if (node->kind != YamlNode::Kind::kSequence) {
      sink_.Error(node->at, absl::StrCat("ports: expected a list, found ", node->KindName()));
    }
    for (const auto& item : node->items) {
      if (auto port = ParsePort(*item, sink_)) host.ports.push_back(*port);
    }
  }
  ReadNames(reader, draft);
  for (absl::string_view field : {"replicas", "scale"}) {
    if (const YamlNode* node = reader.Get(field)) ReadReplicas(*node, draft);
  }
  if (const YamlNode* node = reader.Get("deploy")) ReadDeploy(*node, draft);
  if (const YamlNode* node = reader.Get("wake_with")) {
    for (auto& [name, at] : ReadTexts(*node, sink_)) draft.wake_with.push_back({name, at});
  }
  if (const YamlNode* node = reader.Get("depends_on")) ReadDependencies(*node, draft);
}

std::optional<IpAddress> HostParser::ReadAddress(const YamlNode& node, absl::string_view field,
                                                 bool v6) {
  const auto text = ReadText(node, sink_);
  if (!text) return std::nullopt;
  const std::optional<IpAddress> address = IpAddress::Parse(*text);
  if (address && address->is_v4() != v6) return address;
  sink_.Error(node.at, absl::StrCat(field, ": expected an IPv", v6 ? "6" : "4",
                                    " address, found ", Quote(*text)));
  return std::nullopt;
}

void HostParser::ReadAliases(const YamlNode& node, HostSpec& host) {
  for (auto& [alias, at] : ReadTexts(node, sink_)) {
    if (!IsHostName(alias)) {
      sink_.Error(at, absl::StrCat(Quote(alias), " cannot be a host's name"), kHostNameHint);
    }
    // In each of its networks, perhaps; here there is one.
    const bool known =
        alias == host.name ||
        std::find(host.aliases.begin(), host.aliases.end(), alias) != host.aliases.end();
    if (!known) host.aliases.push_back(std::move(alias));
  }
}

void HostParser::ReadNetworks(const YamlNode& node, HostDraft& draft) {
  if (node.kind != YamlNode::Kind::kMap) {
    ReadTexts(node, sink_);
    return;
  }
  for (const YamlNode::Entry& entry : node.entries) {
    if (entry.value->kind == YamlNode::Kind::kNull) continue;
    MapReader network(*entry.value, absl::StrCat("networks.", entry.key), sink_);
    if (const YamlNode* aliases = network.Get("aliases")) ReadAliases(*aliases, draft.spec);
    const YamlNode* const address = network.Get("ipv4_address");
    if (address != nullptr && !draft.address) {
      draft.address = ReadAddress(*address, "ipv4_address", /*v6=*/false);
      draft.address_at = address->at;
      draft.address_of_compose = true;
    }
    const YamlNode* const address6 = network.Get("ipv6_address");
    if (address6 != nullptr && !draft.address6) {
      draft.address6 = ReadAddress(*address6, "ipv6_address", /*v6=*/true);
      draft.address6_at = address6->at;
    }
    network.NotHonoured({"link_local_ips", "mac_address", "driver_opts"});
    network.Ignore({"priority", "gw_priority", "interface_name"});
    network.Finish();
  }
}

void HostParser::ReadNames(MapReader& reader, HostDraft& draft) {
  for (absl::string_view field : {"address", "ipv4_address"}) {
    const YamlNode* node = reader.Get(field);
    if (node == nullptr) continue;
    draft.address = ReadAddress(*node, field, /*v6=*/false);
    draft.address_at = node->at;
  }
  if (const YamlNode* node = reader.Get("aliases")) ReadAliases(*node, draft.spec);
  if (const YamlNode* node = reader.Get("networks")) ReadNetworks(*node, draft);
  if (const YamlNode* node = reader.Get("hostname")) {
    const auto text = ReadText(*node, sink_);
    if (!text) return;
    if (!IsHostName(*text)) {
      sink_.Error(node->at, absl::StrCat(Quote(*text), " cannot be a host's name"),
                  kHostNameHint);
    }
    draft.spec.hostname = *text;
    draft.hostname_at = node->at;
  }
}

void HostParser::ReadReplicas(const YamlNode& node, HostDraft& draft) {
  if (draft.replicas) {
    sink_.Error(node.at, "replicas is given twice, by different fields");
    return;
  }
  draft.replicas_at = node.at;
  draft.replicas = ReadInteger(node, 1, kHostsMax, sink_);
}

void HostParser::ReadDeploy(const YamlNode& node, HostDraft& draft) {
  MapReader deploy(node, "deploy", sink_);
  if (const YamlNode* replicas = deploy.Get("replicas")) ReadReplicas(*replicas, draft);
  if (const YamlNode* resources = deploy.Get("resources")) {
    MapReader reader(*resources, "resources", sink_);
    if (const YamlNode* limits = reader.Get("limits")) {
      MapReader limit(*limits, "limits", sink_);
      if (const YamlNode* cpus = limit.Get("cpus")) ReadCpus(*cpus, draft.spec);
      if (auto memory = limit.Size("memory")) draft.spec.mem_limit_bytes = *memory;
      limit.NotHonoured({"pids"});
      limit.Finish();
    }
    reader.NotHonoured({"reservations"});
    reader.Finish();
  }
  deploy.NotHonoured({"mode", "endpoint_mode", "placement", "update_config", "rollback_config",
                      "restart_policy"});
  deploy.Ignore({"labels"});
  deploy.Finish();
}

void HostParser::ReadAttach(const YamlNode& node, HostDraft& draft) {
  const auto text = ReadText(node, sink_);
  if (!text) return;
  if (*text == "tun") {
    draft.attach = AttachMode::kTun;
  } else if (*text == "netstack") {
    draft.attach = AttachMode::kNetstack;
  } else if (*text == "auto") {
    draft.attach = AttachMode::kAuto;
  } else if (*text != "true" && *text != "false") {  // Compose's, about output
    sink_.Error(node.at, absl::StrCat("attach: ", Quote(*text), " is not known"),
                "known are tun, netstack and auto");
  }
}

void HostParser::ReadRestart(const YamlNode& node, HostSpec& host) {
  const auto text = ReadText(node, sink_);
  if (!text) return;
  absl::string_view policy = *text;
  uint32_t attempts = 0;
  if (policy == "no" || policy == "false") {
    host.restart = RestartPolicy::kNo;
  } else if (policy == "always" || policy == "unless-stopped") {
    host.restart = RestartPolicy::kAlways;
  } else if (policy == "on-failure") {
    host.restart = RestartPolicy::kOnFailure;
    host.restart_attempts_max = 0;
  } else if (absl::ConsumePrefix(&policy, "on-failure:") && absl::SimpleAtoi(policy, &attempts) &&
             attempts > 0) {
    host.restart = RestartPolicy::kOnFailure;
    host.restart_attempts_max = attempts;
  } else {
    sink_.Error(node.at, absl::StrCat("restart: ", Quote(*text), " is not known"),
                "known are no, always, unless-stopped, on-failure and on-failure:N");
  }
}

}  // namespace im::orchestrator
