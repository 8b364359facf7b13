#include "orchestrator/host_view.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "orchestrator/backoff.h"
#include "orchestrator/version.h"

namespace im::orchestrator {
namespace {

uint64_t MillisUntil(Instant deadline, Instant now) {
  if (deadline <= now) return 0;
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now).count());
}

// The countdown that the agent told, as it stands now.
uint64_t PauseInMs(const Instance& instance, Instant now) {
  const uint64_t told = instance.status.pause_in_ms();
  if (told == 0) return 0;
  const uint64_t passed = MillisUntil(now, instance.status_at);
  return told > passed ? told - passed : 1;
}

void FillHistory(const History& history, proto::HostInfo& info) {
  *info.mutable_cause() = ToProto(history.cause);
  info.set_cause_text(history.cause_text);
  info.set_wake_kind(std::string(WakeKindName(history.wake_kind)));
  info.set_wake_ns(static_cast<uint64_t>(history.wake_duration.count()));
  info.set_starts(history.starts);
  info.set_thaws(history.thaws);
  info.set_last_error(history.last_error);
}

void FillInstance(const Controller& controller, const Instance& instance, Instant now,
                  proto::HostInfo& info) {
  const proto::InstanceStatus& status = instance.status;
  info.set_memory_bytes(status.memory_bytes());
  info.set_cpu_ns(status.cpu_ns());
  info.set_busy(status.busy());
  info.set_pause_in_ms(PauseInMs(instance, now));
  info.set_agent_pid(status.agent_pid() != 0 ? status.agent_pid() : instance.handle.agent_pid);
  info.set_program_pid(status.program_pid());
  *info.mutable_status() = status;
  if (const std::optional<Endpoint> endpoint = controller.EndpointOf(instance)) {
    info.set_endpoint(endpoint->ToString());
  }
}

}  // namespace

absl::string_view WakeKindName(History::WakeKind kind) {
  switch (kind) {
    case History::WakeKind::kNone:
      return "";
    case History::WakeKind::kCold:
      return "cold";
    case History::WakeKind::kThaw:
      return "thaw";
    case History::WakeKind::kRestore:
      return "restore";
  }
  return "";
}

proto::HostInfo DescribeHost(const Controller& controller, HostId host, Instant now,
                             int64_t unix_nanos) {
  const HostTable& hosts = controller.hosts();
  const HostTable::Host& row = hosts[host];
  proto::HostInfo info;
  info.set_name(row.name);
  info.set_address(row.address.ToString());
  if (const DualStack& dual_stack = controller.spec().dual_stack; dual_stack.on())
    info.set_address6(dual_stack.ToV6(row.address).ToString());
  info.set_state(std::string(HostStateName(row.state)));
  info.set_incarnation(row.incarnation);
  info.set_guest(row.guest);
  info.set_state_since_unix_nanos(unix_nanos - (now - row.since).count());
  info.set_instance_dir(controller.requests().DirectoryOf(row.name));
  if (!row.guest) info.set_log_path(controller.requests().LogPathOf(row.name));
  info.set_held_packets(static_cast<uint32_t>(controller.activator().held().packets(host)));
  if (row.history != nullptr) FillHistory(*row.history, info);
  if (const Instance* instance = controller.FindInstance(host)) {
    FillInstance(controller, *instance, now, info);
  }
  const Activator::Outlook outlook = controller.activator().outlook(host, now);
  if (outlook.release_at) info.set_release_in_ms(MillisUntil(*outlook.release_at, now));
  if (outlook.timer_at)
    info.set_timer_in_ms(std::max<uint64_t>(1, MillisUntil(*outlook.timer_at, now)));
  if (outlook.retry_at) info.set_retry_in_ms(MillisUntil(*outlook.retry_at, now));
  return info;
}

std::vector<std::string> KeepsUp(const Controller& controller, HostId host, Instant now) {
  std::vector<std::string> reasons;
  const HostTable& hosts = controller.hosts();
  const HostState state = hosts[host].state;
  const Activator::Outlook outlook = controller.activator().outlook(host, now);
  if (hosts.policy(host).always_running) reasons.push_back("min_running: 1");
  if (outlook.kept_by) {
    reasons.push_back(absl::StrCat("wake_with: ", hosts[*outlook.kept_by].name, " is up"));
  }
  if (outlook.kept_by_fellow) {
    reasons.push_back(absl::StrCat("group: ", hosts[*outlook.kept_by_fellow].name,
                                   " is not due for release"));
  }
  if (!outlook.memory_wait.empty())
    reasons.push_back(absl::StrCat("not started yet: ", outlook.memory_wait));
  if (!outlook.needs.empty())
    reasons.push_back(absl::StrCat("not started yet: it needs ", outlook.needs));
  if (!outlook.not_ready.empty()) reasons.push_back(outlook.not_ready);
  const Instance* instance = controller.FindInstance(host);
  if (instance != nullptr && state == HostState::kRunning) {
    if (!instance->status.busy().empty()) {
      reasons.push_back(instance->status.busy());
    } else if (const uint64_t left = PauseInMs(*instance, now); left > 0) {
      reasons.push_back(
          absl::StrCat("idle; pauses in ", DurationText(std::chrono::milliseconds(left))));
    }
    if (std::string group = controller.groups().Reason(host); !group.empty()) {
      reasons.push_back(std::move(group));
    }
    if (instance->status.held_packets() > 0) {
      reasons.push_back(absl::StrCat(instance->status.held_packets(),
                                     " packets wait for the program to listen"));
    }
  }
  if (state == HostState::kPaused && outlook.timer_at) {
    reasons.push_back(absl::StrCat(
        "paused; woken in ", DurationText(std::max(*outlook.timer_at - now, Duration(0))),
        " for a timer of ", instance != nullptr ? instance->status.timer_of() : "",
        outlook.release_at ? "" : ", not released before"));
  }
  if (state == HostState::kPaused && outlook.release_at) {
    reasons.push_back(absl::StrCat("paused; released in ",
                                   DurationText(std::max(*outlook.release_at - now, Duration(0)))));
  }
  if (outlook.ends_at) {
    reasons.push_back(
        absl::StrCat("max_lifetime: ",
                     outlook.fails_then ? "stopped if it has not completed in "
                                        : "replaced by a fresh instance in ",
                     DurationText(std::max(*outlook.ends_at - now, Duration(0))),
                     outlook.fails_then ? "" : " at the latest"));
  }
  if (outlook.awaits) {
    const HostTable::Host& fellow = hosts[*outlook.awaits];
    reasons.push_back(absl::StrCat("group: waits for ", fellow.name, ", which is ",
                                   HostStateName(fellow.state)));
  }
  if (state == HostState::kCheckpointed) {
    reasons.push_back(
        outlook.timer_at
            ? absl::StrCat("on disk; restored in ",
                           DurationText(std::max(*outlook.timer_at - now, Duration(0))),
                           " for a timer")
            : "on disk");
  }
  if (outlook.retry_at && *outlook.retry_at > now) {
    reasons.push_back(absl::StrCat("after ", outlook.failures, " failures in a row, started again in ",
                                   DurationText(*outlook.retry_at - now), " at the earliest"));
  }
  return reasons;
}

proto::Cluster DescribeCluster(Controller& controller) {
  const ClusterSpec& spec = controller.spec();
  proto::Cluster cluster;
  cluster.set_name(spec.name);
  cluster.set_network(spec.network.ToString());
  if (spec.dual_stack.on()) cluster.set_network6(spec.dual_stack.network().ToString());
  cluster.set_gateway(spec.gateway.ToString());
  cluster.set_domain(spec.domain);
  cluster.set_spec_path(spec.path);
  cluster.set_pid(static_cast<uint32_t>(getpid()));
  cluster.set_hosts(static_cast<uint32_t>(controller.hosts().size()));
  cluster.set_gateway_bytes(controller.gateway().forwarded_bytes());
  cluster.set_held_packets(controller.activator().held().packets());
  cluster.set_version(kVersion);
  DropCounters drops = controller.gateway().drops();
  drops.Add(controller.tunnel().Drops());
  drops.ForEach([&](absl::string_view reason, uint64_t count) {
    (*cluster.mutable_drops())[std::string(reason)] = count;
  });
  return cluster;
}

}  // namespace im::orchestrator
