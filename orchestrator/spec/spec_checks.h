// What concerns several hosts at once: replicas, names, references, ports (and
// addresses: address_checks.h). Each function reports every mistake and leaves the rest usable.

#ifndef IM_ORCHESTRATOR_SPEC_SPEC_CHECKS_H_
#define IM_ORCHESTRATOR_SPEC_SPEC_CHECKS_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "orchestrator/cluster_spec.h"
#include "orchestrator/spec/diagnostic_sink.h"
#include "orchestrator/spec/host_parser.h"

namespace im::orchestrator {

// Text of all hosts together: 100,000 of 1.6 KB each. Replicas have theirs in common, unless
// they name others (wake_with, depends_on): then each has its own.
inline constexpr size_t kHostTextBytesMax = 160 << 20;
// Entries of wake_with and depends_on, once each service stands for all of its
// replicas.
inline constexpr size_t kReferencesMax = 400'000;

// The bytes of text that a host carries.
size_t TextBytes(const HostSpec& host);

// Gives every draft its attachment, `network` where it has none of its own and
// `automatic` for kAuto, and reports what such a host cannot have.
void CheckAttachments(std::vector<HostDraft>& drafts, AttachMode network, AttachMode automatic,
                      DiagnosticSink& sink);

// on_release: checkpoint where it cannot be had: what such a host lacks, or this
// machine (SpecSources::no_checkpoints).
void CheckCheckpoints(const std::vector<HostDraft>& drafts, const std::vector<GroupSpec>& groups,
                      const std::function<std::optional<std::string>()>& no_checkpoints,
                      DiagnosticSink& sink);

// Fills cluster.hosts. With `replicas: 3` (or 1) host zk becomes zk-1…zk-3.
void ExpandReplicas(const std::vector<HostDraft>& drafts, ClusterSpec& cluster,
                    DiagnosticSink& sink);

// Every name of a host, a service and an alias stands for one thing.
void CheckNames(const std::vector<HostDraft>& drafts, DiagnosticSink& sink);

// wake_with, depends_on and group, looked up; cycles of depends_on.
void ResolveReferences(const std::vector<HostDraft>& drafts, ClusterSpec& cluster,
                       DiagnosticSink& sink);

// Groups that are suspended together: not too large, and of hosts that may be
// paused at all.
void CheckGroups(const ClusterSpec& cluster, DiagnosticSink& sink);

// Two hosts that publish the same port of this machine.
void CheckPorts(const std::vector<HostDraft>& drafts, DiagnosticSink& sink);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_SPEC_SPEC_CHECKS_H_
