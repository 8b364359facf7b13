#include "orchestrator/cluster_metrics.h"

#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "orchestrator/metrics_text.h"
#include "orchestrator/own_process.h"
#include "orchestrator/version.h"

namespace im::orchestrator {
namespace {

using Type = MetricsText::Type;

// "published_port"
std::string CauseName(size_t kind) {
  const std::string name =
      proto::WakeCause::Kind_Name(static_cast<proto::WakeCause::Kind>(kind));
  return absl::AsciiStrToLower(name);
}

void States(const Controller& controller, Instant now, MetricsText& out) {
  const HostTable& hosts = controller.hosts();
  out.Family("im_info", Type::kGauge, "The cluster; always 1.");
  out.Sample(uint64_t{1}, {{"cluster", controller.spec().name}, {"version", kVersion}});
  out.Family("im_hosts_configured", Type::kGauge, "Hosts of cluster.yaml.");
  out.Sample(uint64_t{controller.spec().hosts.size()});
  out.Family("im_hosts", Type::kGauge, "Hosts by state, those of im run too.");
  for (int i = 0; i < kHostStates; ++i) {
    const auto state = static_cast<HostState>(i);
    out.Sample(uint64_t{hosts.count(state)}, {{"state", HostStateName(state)}});
  }
  const LifecycleMeter& meter = controller.meter();
  out.Family("im_host_seconds_total", Type::kCounter,
             "Configured hosts times the seconds that they were in a state.");
  for (int i = 0; i < kHostStates; ++i) {
    const auto state = static_cast<HostState>(i);
    out.Sample(Seconds(meter.host_time(state, now)), {{"state", HostStateName(state)}});
  }
  out.Family("im_host_seconds_configured_total", Type::kCounter,
             "Configured hosts times seconds: what would have run without us.");
  out.Sample(Seconds(meter.configured_time(now)));
}

void Wakes(const Controller& controller, MetricsText& out) {
  const LifecycleMeter& meter = controller.meter();
  const Activator::Counters& counters = controller.activator().counters();
  constexpr LifecycleMeter::WakeKind kKinds[] = {LifecycleMeter::WakeKind::kCold,
                                                 LifecycleMeter::WakeKind::kThaw,
                                                 LifecycleMeter::WakeKind::kRestore};
  out.Family("im_wakes_total", Type::kCounter, "Wakes by how the host woke and what woke it.");
  for (const auto kind : kKinds) {
    for (size_t cause = 0; cause < LifecycleMeter::kCauseKinds; ++cause) {
      const uint64_t n = meter.wakes(kind, static_cast<Cause::Kind>(cause));
      // What has not happened yet: only the pairs that every cluster has.
      if (n == 0 && cause != static_cast<size_t>(Cause::Kind::kSyn)) continue;
      out.Sample(n, {{"kind", WakeKindName(kind)}, {"cause", CauseName(cause)}});
    }
  }
  out.Family("im_thaws_total", Type::kCounter,
             "Thaws by agents; those between two of an agent's reports too.");
  out.Sample(counters.thaws);
  out.Family("im_starts_total", Type::kCounter, "Instances that were started.");
  out.Sample(counters.starts);
  out.Family("im_starts_in_flight", Type::kGauge, "Instances that are being started.");
  out.Sample(uint64_t{controller.activator().starting()});
  out.Family("im_failures_total", Type::kCounter,
             "Starts that failed, and programs that failed later.");
  out.Sample(meter.failed_starts(), {{"during", "start"}});
  out.Sample(meter.failed_programs(), {{"during", "run"}});
  out.Family("im_releases_total", Type::kCounter, "Instances that ended without a failure.");
  out.Sample(meter.releases());
  out.Family("im_start_seconds", Type::kHistogram,
             "From what woke an imaginary host to its first status.");
  out.Sample(meter.durations(LifecycleMeter::WakeKind::kCold));
  out.Family("im_thaw_seconds", Type::kHistogram,
             "From the packet that thawed a paused host to the thaw.");
  out.Sample(meter.durations(LifecycleMeter::WakeKind::kThaw));
  out.Family("im_restore_seconds", Type::kHistogram,
             "From what woke a checkpointed host to its first status.");
  out.Sample(meter.durations(LifecycleMeter::WakeKind::kRestore));
}

void Drops(const DropCounters& drops, MetricsText& out) {
  for (size_t i = 0; i < static_cast<size_t>(DropReason::kCount); ++i) {
    const auto reason = static_cast<DropReason>(i);
    out.Sample(drops[reason], {{"reason", DropReasonName(reason)}});
  }
}

void Packets(const Controller& controller, const EdgeFigures& edge, MetricsText& out) {
  const Activator::Counters& counters = controller.activator().counters();
  const HeldPackets& held = controller.activator().held();
  out.Family("im_held_packets", Type::kGauge, "Packets that wait for their hosts at the gateway.");
  out.Sample(uint64_t{held.packets()});
  out.Family("im_held_bytes", Type::kGauge, "The bytes of those packets.");
  out.Sample(uint64_t{held.bytes()});
  out.Family("im_held_packets_total", Type::kCounter,
             "Packets to hosts that were not up, by what was done with them.");
  const std::pair<const char*, uint64_t> outcomes[] = {
      {"held", counters.held},           {"repeated", counters.duplicates},
      {"over_limit", counters.over_limit}, {"useless", counters.useless},
      {"delivered", counters.delivered}, {"refused", counters.refused}};
  for (const auto& [outcome, n] : outcomes) out.Sample(n, {{"outcome", outcome}});
  out.Family("im_held_too_long_total", Type::kCounter,
             "Packets that were refused because their host did not come up in time.");
  out.Sample(counters.held_too_long);
  out.Family("im_keepalives_answered_total", Type::kCounter,
             "Keepalives of connections of hosts on disk, which were answered in their place.");
  out.Sample(controller.connections_on_disk().answers());
  out.Family("im_hold_seconds", Type::kHistogram,
             "How long packets were held that were then delivered.");
  out.Sample(held.hold_times());
  out.Family("im_gateway_forwarded_bytes_total", Type::kCounter,
             "Bytes between hosts that went by way of the gateway.");
  out.Sample(controller.gateway().forwarded_bytes());
  out.Family("im_gateway_forwarded_packets_total", Type::kCounter,
             "Packets between hosts that went by way of the gateway.");
  out.Sample(controller.gateway().forwarded_packets());
  out.Family("im_gateway_dropped_packets_total", Type::kCounter,
             "Packets that the gateway dropped, by reason.");
  Drops(controller.gateway().drops(), out);
  out.Family("im_tunnel_dropped_packets_total", Type::kCounter,
             "Packets and messages that the gateway's tunnel dropped, by reason.");
  Drops(edge.tunnel_drops, out);
  out.Family("im_tunnel_bytes_total", Type::kCounter,
             "Bytes of datagrams through the gateway's tunnel.");
  out.Sample(edge.tunnel_rx_bytes, {{"direction", "receive"}});
  out.Sample(edge.tunnel_tx_bytes, {{"direction", "transmit"}});
  out.Family("im_published_connections", Type::kGauge, "Open connections of published ports.");
  out.Sample(uint64_t{edge.published_connections});
}

struct HostRow {
  const HostTable::Host* host;
  const Instance* instance;
};

void Hosts(const Controller& controller, MetricsText& out) {
  std::vector<HostRow> rows;
  uint64_t left_out = 0;
  uint64_t memory = 0;
  controller.hosts().ForEach([&](HostId id, const HostTable::Host& host) {
    if (!HasInstance(host.state)) return;
    const Instance* instance = controller.FindInstance(id);
    if (instance == nullptr) return;
    memory += instance->status.memory_bytes();
    if (rows.size() == kHostSeriesMax) {
      ++left_out;
    } else {
      rows.push_back({&host, instance});
    }
  });
  out.Family("im_hosts_memory_bytes", Type::kGauge, "Memory of all hosts' programs.");
  out.Sample(memory);
  out.Family("im_hosts_without_series", Type::kGauge,
             "Hosts with an instance that have no series below, as there are too many.");
  out.Sample(left_out);
  out.Family("im_host_state", Type::kGauge, "Hosts that have an instance; always 1.");
  for (const HostRow& row : rows) {
    out.Sample(uint64_t{1},
               {{"host", row.host->name}, {"state", HostStateName(row.host->state)}});
  }
  out.Family("im_host_memory_bytes", Type::kGauge, "Memory of the host's program.");
  for (const HostRow& row : rows)
    out.Sample(uint64_t{row.instance->status.memory_bytes()}, {{"host", row.host->name}});
  out.Family("im_host_cpu_seconds_total", Type::kCounter,
             "CPU time of the host's program; begins anew with each instance.");
  for (const HostRow& row : rows) {
    out.Sample(static_cast<double>(row.instance->status.cpu_ns()) * 1e-9,
               {{"host", row.host->name}});
  }
  out.Family("im_host_network_bytes_total", Type::kCounter,
             "Bytes to and from the host's program; begins anew with each instance.");
  for (const HostRow& row : rows) {
    const proto::InstanceStatus& status = row.instance->status;
    out.Sample(uint64_t{status.inside_rx_bytes()},
               {{"host", row.host->name}, {"direction", "receive"}});
    out.Sample(uint64_t{status.inside_tx_bytes()},
               {{"host", row.host->name}, {"direction", "transmit"}});
  }
}

void Process(const EdgeFigures& edge, MetricsText& out) {
  const OwnProcess process = OwnProcess::Measure();
  out.Family("im_api_calls", Type::kGauge, "Open calls of the command line and others.");
  out.Sample(uint64_t{edge.api_calls});
  out.Family("process_resident_memory_bytes", Type::kGauge, "Memory of imd itself.");
  out.Sample(process.resident_bytes);
  out.Family("process_virtual_memory_bytes", Type::kGauge, "Address space of imd itself.");
  out.Sample(process.virtual_bytes);
  out.Family("process_cpu_seconds_total", Type::kCounter, "CPU time of imd itself.");
  out.Sample(process.cpu_seconds);
  out.Family("process_max_fds", Type::kGauge, "Descriptors that imd may have open.");
  out.Sample(process.descriptors_max);
}

}  // namespace

std::string ClusterMetrics(const Controller& controller, const EdgeFigures& edge, Instant now) {
  MetricsText out;
  States(controller, now, out);
  Wakes(controller, out);
  Packets(controller, edge, out);
  Hosts(controller, out);
  Process(edge, out);
  return out.Take();
}

}  // namespace im::orchestrator
