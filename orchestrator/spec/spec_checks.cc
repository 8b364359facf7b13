#include "orchestrator/spec/spec_checks.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace im::orchestrator {
namespace {

bool NamesOthers(const HostDraft& draft) {
  return !draft.wake_with.empty() || !draft.depends_on.empty();
}

std::vector<absl::string_view> ServiceNames(const std::vector<HostDraft>& drafts) {
  std::vector<absl::string_view> names;
  for (const HostDraft& draft : drafts) names.push_back(draft.spec.name);
  return names;
}

// Drafts by the names of their services and hosts. There is no list of replicas: a name
// tells by itself whose it can be.
class DraftIndex {
 public:
  explicit DraftIndex(const std::vector<HostDraft>& drafts) {
    for (const HostDraft& draft : drafts) by_name_[draft.spec.name] = &draft;
  }

  // Null: there is none.
  const HostDraft* Find(absl::string_view service) const {
    const auto it = by_name_.find(service);
    return it == by_name_.end() ? nullptr : it->second;
  }

  // Whose replica the host of this name is; null: it is none.
  const HostDraft* OfReplica(absl::string_view host) const {
    const size_t dash = host.rfind('-');
    if (dash == host.npos) return nullptr;
    const HostDraft* draft = Find(host.substr(0, dash));
    int64_t number = 0;
    if (draft == nullptr || !draft->replicas ||
        !absl::SimpleAtoi(host.substr(dash + 1), &number) || number < 1 ||
        number > *draft->replicas || HostName(*draft, number) != host) {
      return nullptr;
    }
    return draft;
  }

 private:
  absl::flat_hash_map<absl::string_view, const HostDraft*> by_name_;
};

// Depth-first over depends_on; each cycle is reported where it closes.
class CycleFinder {
 public:
  CycleFinder(const std::vector<HostDraft>& drafts, DiagnosticSink& sink)
      : drafts_(drafts), sink_(sink), marks_(drafts.size(), Mark::kNew) {
    for (size_t i = 0; i < drafts.size(); ++i) index_[drafts[i].spec.name] = i;
  }

  void Run() {
    for (size_t i = 0; i < drafts_.size(); ++i) {
      if (marks_[i] == Mark::kNew) Visit(i);
    }
  }

 private:
  enum class Mark : uint8_t { kNew, kOpen, kDone };
  struct Step {
    size_t draft;
    size_t next = 0;  // reference to follow
  };

  // With a stack of its own: 100,000 hosts may depend on one another in a row.
  void Visit(size_t root) {
    std::vector<Step> path{{root}};
    marks_[root] = Mark::kOpen;
    while (!path.empty()) {
      Step& step = path.back();
      const std::vector<Dependency>& references = drafts_[step.draft].depends_on;
      if (step.next == references.size()) {
        marks_[step.draft] = Mark::kDone;
        path.pop_back();
        continue;
      }
      const Reference& reference = references[step.next++];
      const auto it = index_.find(reference.name);
      if (it == index_.end()) continue;
      if (marks_[it->second] == Mark::kNew) {
        marks_[it->second] = Mark::kOpen;
        path.push_back({it->second});
      } else if (marks_[it->second] == Mark::kOpen) {
        Report(path, it->second, reference.at);
      }
    }
  }

  void Report(const std::vector<Step>& path, size_t closes_at, SourcePosition at) {
    constexpr size_t kShownMax = 8;
    auto first = std::find_if(path.begin(), path.end(),
                              [&](const Step& step) { return step.draft == closes_at; });
    std::vector<std::string> names;
    for (; first != path.end() && names.size() < kShownMax; ++first) {
      names.push_back(drafts_[first->draft].spec.name);
    }
    if (first != path.end()) names.push_back("...");
    names.push_back(drafts_[closes_at].spec.name);
    sink_.Error(at, absl::StrCat("depends_on goes round in a circle: ",
                                 absl::StrJoin(names, " -> ")));
  }

  const std::vector<HostDraft>& drafts_;
  DiagnosticSink& sink_;
  std::vector<Mark> marks_;
  absl::flat_hash_map<absl::string_view, size_t> index_;
};

bool IsSuspendedTogether(const HostDraft& draft, const std::vector<GroupSpec>& groups) {
  return draft.group && std::any_of(groups.begin(), groups.end(), [&](const GroupSpec& group) {
           return group.name == draft.group->name && group.suspend_together;
         });
}

// A host of the same group with suspend: together that does not go to disk.
const HostDraft* FellowThatStays(const HostDraft& draft, const std::vector<HostDraft>& drafts,
                                 const std::vector<GroupSpec>& groups) {
  if (!IsSuspendedTogether(draft, groups)) return nullptr;
  for (const HostDraft& other : drafts)
    if (other.group && other.group->name == draft.group->name &&
        other.spec.on_release != OnRelease::kCheckpoint)
      return &other;
  return nullptr;
}

void CheckAges(const HostDraft& draft, const std::vector<GroupSpec>& groups, DiagnosticSink& sink) {
  const HostSpec& host = draft.spec;
  const auto not_honoured = [&](SourcePosition at, const char* what, const char* hint) {
    sink.Warning(at, absl::StrCat("host ", host.name, ": ", what), hint);
  };
  if (host.checkpoint_expires && host.on_release != OnRelease::kCheckpoint)
    not_honoured(draft.checkpoint_expires_at, "checkpoint_expires is not honoured with "
                 "on_release: terminate", "it needs on_release: checkpoint");
  if (!host.max_lifetime) return;
  if (IsSuspendedTogether(draft, groups)) {
    not_honoured(draft.max_lifetime_at, "max_lifetime is not honoured in a group with "
                 "suspend: together", "its members are stopped, and go to disk, only together");
  } else if (host.idle.mode != IdleMode::kNever && *host.max_lifetime <= host.idle.after) {
    sink.Error(draft.max_lifetime_at,
               absl::StrCat("host ", host.name, ": max_lifetime must be longer than idle.after"),
               "it would never be found idle");
  }
}

}  // namespace

size_t TextBytes(const HostSpec& host) {
  size_t bytes = sizeof(HostSpec) + host.working_dir.size() + host.idle.busy_file.size();
  bytes += host.image.size() + host.image_tree.size();
  bytes += host.idle.ignore_from.size() * sizeof(IpPrefix);
  for (const std::string& word : host.argv) bytes += word.size() + sizeof(word);
  if (host.healthcheck) {
    for (const std::string& word : host.healthcheck->argv) bytes += word.size() + sizeof(word);
  }
  for (const auto& [name, value] : host.environment) bytes += name.size() + value.size() + 64;
  for (const MountSpec& mount : host.mounts) {
    bytes += mount.source.size() + mount.target.size() + sizeof(mount);
  }
  for (const std::string& alias : host.aliases) bytes += alias.size() + sizeof(alias);
  return bytes;
}

void CheckAttachments(std::vector<HostDraft>& drafts, AttachMode network, AttachMode automatic,
                      DiagnosticSink& sink) {
  for (HostDraft& draft : drafts) {
    const AttachMode mode = draft.attach.value_or(network);
    draft.spec.attach = mode == AttachMode::kAuto ? automatic : mode;
    if (draft.spec.attach != AttachMode::kNetstack) continue;
    const auto refuse = [&](const std::optional<SourcePosition>& at, absl::string_view field,
                            const char* hint) {
      if (at.has_value())
        sink.Error(*at, absl::StrCat("host ", draft.spec.name, ": ", field,
                                     ": a host of attach: netstack cannot have this"), hint);
    };
    constexpr char kFiles[] = "its program sees the machine's files as they are; or write "
                              "attach: tun";
    refuse(draft.volumes_at, "volumes", kFiles);
    refuse(draft.tmpfs_at, "tmpfs", kFiles);
    refuse(draft.image_at, "image", "an image's files need namespaces: write attach: tun");
    if (draft.hostname_at.has_value()) {
      sink.Warning(*draft.hostname_at,
                   absl::StrCat("host ", draft.spec.name,
                                ": hostname is not honoured with attach: netstack"),
                   "the program sees the machine's; HOSTNAME in its environment is as you say");
    }
  }
}

void CheckCheckpoints(const std::vector<HostDraft>& drafts, const std::vector<GroupSpec>& groups,
                      const std::function<std::optional<std::string>()>& no_checkpoints,
                      DiagnosticSink& sink) {
  bool asked = false;
  std::optional<std::string> obstacle;
  for (const HostDraft& draft : drafts) {
    CheckAges(draft, groups, sink);
    if (draft.spec.on_release != OnRelease::kCheckpoint) continue;
    const auto refuse = [&](const std::string& why, const char* hint) {
      sink.Error(draft.on_release_at,
                 absl::StrCat("host ", draft.spec.name, ": on_release: checkpoint: ", why), hint);
    };
    if (draft.spec.attach == AttachMode::kNetstack) {
      refuse("a host of attach: netstack cannot go to disk",
             "its connections are in its agent, which ends; write attach: tun, or leave it out");
      continue;
    }
    if (draft.image_at) {
      refuse("a host of an image cannot go to disk yet",
             "leave it out (terminate), and keep what must last in volumes");
      continue;
    }
    if (const HostDraft* const other = FellowThatStays(draft, drafts, groups)) {
      refuse(absl::StrCat("host ", other->spec.name, " of its group ", draft.group->name,
                          " does not go to disk"),
             "hosts that are suspended together go there together: write it for all of them");
      continue;
    }
    if (!no_checkpoints) continue;
    if (!std::exchange(asked, true)) obstacle = no_checkpoints();
    if (obstacle) refuse(*obstacle, "im doctor says more");
  }
}

void ExpandReplicas(const std::vector<HostDraft>& drafts, ClusterSpec& cluster,
                    DiagnosticSink& sink) {
  size_t text_bytes = 0;
  for (const HostDraft& draft : drafts) {
    const int64_t count = ReplicaCount(draft);
    const SourcePosition at = draft.replicas ? draft.replicas_at : draft.spec.at;
    if (cluster.hosts.size() + count > kHostsMax) {
      sink.Error(at, absl::StrCat("more than ", kHostsMax, " hosts"));
      return;
    }
    // Those of min_running are kept apart from the others.
    const int64_t copies = NamesOthers(draft) ? count : std::min<int64_t>(count, 2);
    text_bytes += TextBytes(draft.spec) * copies;
    if (text_bytes > kHostTextBytesMax) {
      sink.Error(at, "the hosts' commands and environments are too long altogether",
                 absl::StrCat("at most ", kHostTextBytesMax >> 20,
                              " MB, every replica with wake_with or depends_on counted"));
      return;
    }
    if (draft.min_running > count) {
      sink.Error(draft.spec.at, absl::StrCat("host ", draft.spec.name, ": min_running is ",
                                             draft.min_running, ", but there is only ", count));
    }
    if (draft.replicas && count > 1 && !draft.spec.hostname.empty()) {
      sink.Error(draft.replicas_at, absl::StrCat(count, " replicas cannot share one hostname"),
                 "leave hostname out: each is called by its own name");
    }
    for (int64_t i = 0; i < count; ++i) {
      if (i > 0 && i != draft.min_running) {
        cluster.hosts.AddReplica(static_cast<uint32_t>(i + 1));
        continue;
      }
      HostSpec host = draft.spec;
      host.name = HostName(draft, i + 1);
      if (host.hostname.empty()) host.hostname = host.name;
      host.min_running = i < draft.min_running;
      if (draft.group) host.group = draft.group->name;
      cluster.hosts.push_back(std::move(host));
    }
  }
}

void CheckNames(const std::vector<HostDraft>& drafts, DiagnosticSink& sink) {
  struct Owner {
    absl::string_view service;
    SourcePosition at;
  };
  const DraftIndex index(drafts);
  absl::flat_hash_map<absl::string_view, Owner> owners;
  const auto compare = [&](absl::string_view name, Owner first, Owner second) {
    if (first.service == second.service) return;
    // The later of the two is the one to complain about.
    if (second.at < first.at) std::swap(first, second);
    sink.Error(second.at, absl::StrCat("host ", second.service, ": the name ", Quote(name),
                                       " is taken by host ", first.service, " in line ",
                                       first.at.line));
  };
  const auto owner = [](const HostDraft& draft) { return Owner{draft.spec.name, draft.spec.at}; };
  for (const HostDraft& draft : drafts) {
    const std::string& name = draft.spec.name;
    owners.try_emplace(name, owner(draft));
    if (const HostDraft* other = index.OfReplica(name)) compare(name, owner(draft), owner(*other));
  }
  // The replicas of a service may share an alias: it then stands for all.
  for (const HostDraft& draft : drafts) {
    for (const std::string& alias : draft.spec.aliases) {
      const HostDraft* const other = owners.contains(alias) ? nullptr : index.OfReplica(alias);
      const Owner first = other != nullptr ? owner(*other)
                                           : owners.try_emplace(alias, owner(draft)).first->second;
      compare(alias, first, owner(draft));
    }
  }
}

void ResolveReferences(const std::vector<HostDraft>& drafts, ClusterSpec& cluster,
                       DiagnosticSink& sink) {
  const DraftIndex index(drafts);
  const std::vector<absl::string_view> names = ServiceNames(drafts);
  const auto check = [&](const auto& references, absl::string_view field) {
    for (const Reference& reference : references) {
      if (index.Find(reference.name) || index.OfReplica(reference.name)) continue;
      const absl::string_view nearest = Nearest(reference.name, names);
      sink.Error(reference.at, absl::StrCat(field, ": there is no host ", Quote(reference.name)),
                 nearest.empty() ? "" : absl::StrCat("did you mean \"", nearest, "\"?"));
    }
  };
  absl::flat_hash_map<std::string, size_t> group_index;
  std::vector<absl::string_view> group_names;
  for (size_t i = 0; i < cluster.groups.size(); ++i) {
    group_index[cluster.groups[i].name] = i;
    group_names.push_back(cluster.groups[i].name);
  }
  for (const HostDraft& draft : drafts) {
    check(draft.wake_with, "wake_with");
    check(draft.depends_on, "depends_on");
    if (draft.group && !group_index.contains(draft.group->name)) {
      const absl::string_view nearest = Nearest(draft.group->name, group_names);
      sink.Error(draft.group->at, absl::StrCat("there is no group ", Quote(draft.group->name)),
                 nearest.empty() ? "groups are declared at the top: groups: {NAME: {}}"
                                 : absl::StrCat("did you mean \"", nearest, "\"?"));
    }
  }
  CycleFinder(drafts, sink).Run();

  size_t total = 0;
  const auto resolve = [&](const auto& references, const std::string& self, const auto& add) {
    for (const auto& reference : references) {
      const HostDraft* const service = index.Find(reference.name);
      const bool known = service != nullptr || index.OfReplica(reference.name) != nullptr;
      const int64_t count = service != nullptr ? ReplicaCount(*service) : known ? 1 : 0;
      total += static_cast<size_t>(count);
      if (total > kReferencesMax) return;
      for (int64_t i = 1; i <= count; ++i) {
        std::string name = service != nullptr ? HostName(*service, i) : reference.name;
        if (name != self) add(std::move(name), reference);
      }
    }
  };
  size_t next = 0;
  for (const HostDraft& draft : drafts) {
    const auto group = draft.group ? group_index.find(draft.group->name) : group_index.end();
    if (group == group_index.end() && !NamesOthers(draft)) {
      next += static_cast<size_t>(ReplicaCount(draft));
      continue;
    }
    // Of too many, which was said, not all are there.
    for (int64_t i = 1; i <= ReplicaCount(draft) && next < cluster.hosts.size(); ++i, ++next) {
      if (group != group_index.end())
        cluster.groups[group->second].hosts.push_back(HostName(draft, i));
      if (!NamesOthers(draft)) continue;
      HostSpec& host = cluster.hosts.Apart(next);
      resolve(draft.wake_with, host.name, [&](std::string name, const Reference&) {
        host.wake_with.push_back(std::move(name));
      });
      resolve(draft.depends_on, host.name, [&](std::string name, const Dependency& dependency) {
        host.depends_on.push_back({std::move(name), dependency.condition});
      });
      if (total > kReferencesMax) {
        sink.Error(draft.spec.at, absl::StrCat("wake_with and depends_on name more than ",
                                               kReferencesMax, " hosts, every replica counted"));
        return;
      }
    }
  }
}

void CheckGroups(const ClusterSpec& cluster, DiagnosticSink& sink) {
  absl::flat_hash_map<absl::string_view, const GroupSpec*> together;
  for (const GroupSpec& group : cluster.groups) {
    if (!group.suspend_together) continue;
    together[group.name] = &group;
    if (group.hosts.size() > kTogetherMax) {
      sink.Error(group.at, absl::StrCat("group ", group.name, ": suspend: together is for at most ",
                                        kTogetherMax, " hosts; it has ", group.hosts.size()));
    }
    if (group.hosts.size() == 1) {
      sink.Warning(group.at, absl::StrCat("group ", group.name, " has one host, ", group.hosts[0],
                                          ": suspend: together means nothing more for it"));
    }
  }
  if (together.empty()) return;
  for (const HostSpec& host : cluster.hosts) {
    const bool awake = host.min_running || host.idle.mode == IdleMode::kNever;
    if (!awake || !together.contains(host.group)) continue;
    sink.Warning(host.at, absl::StrCat("host ", host.name, " is never paused, so group ",
                                       host.group, ", which is suspended together, never is"));
  }
}

void CheckPorts(const std::vector<HostDraft>& drafts, DiagnosticSink& sink) {
  struct Owner {
    const HostDraft* draft;
    int64_t number;
    const PublishedPort* port;
  };
  absl::flat_hash_map<uint16_t, std::vector<Owner>> owners;
  const auto claim = [&](const HostDraft& draft, int64_t number, const PublishedPort& port) {
    std::vector<Owner>& others = owners[port.listen.port];
    for (const Owner& other : others) {
      const IpAddress& a = port.listen.address;
      const IpAddress& b = other.port->listen.address;
      // [::] is all addresses of IPv6 alone (port_publisher.cc).
      if (a.is_v4() != b.is_v4()) continue;
      if (a != b && !a.is_unspecified() && !b.is_unspecified()) continue;
      sink.Error(port.at,
                 absl::StrCat("port ", port.listen.ToString(), " is published by host ",
                              HostName(*other.draft, other.number), " too, in line ",
                              other.port->at.line),
                 &draft == other.draft
                     ? "a port leads to one host: give replicas names of their own, or put a "
                       "proxy before them"
                     : "");
      break;
    }
    others.push_back({&draft, number, &port});
  };
  for (const HostDraft& draft : drafts) {
    // Of a third replica the same would be said.
    for (int64_t i = 1; i <= std::min<int64_t>(ReplicaCount(draft), 2); ++i) {
      for (const PublishedPort& port : draft.spec.ports) claim(draft, i, port);
    }
  }
}

}  // namespace im::orchestrator
