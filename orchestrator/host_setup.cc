#include "orchestrator/host_setup.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace im::orchestrator {
namespace {

HostPolicy::Restart RestartOf(RestartPolicy restart) {
  switch (restart) {
    case RestartPolicy::kNo:
      return HostPolicy::Restart::kNo;
    case RestartPolicy::kOnFailure:
      return HostPolicy::Restart::kOnFailure;
    case RestartPolicy::kAlways:
      return HostPolicy::Restart::kAlways;
  }
  IM_CHECK(false);
}

absl::StatusOr<HostId> Find(const HostTable& table, const std::string& name) {
  const std::optional<HostId> id = table.FindByName(name);
  if (!id.has_value()) return absl::InvalidArgumentError(absl::StrCat("no host ", name));
  return *id;
}

}  // namespace

HostPolicy PolicyOf(const HostSpec& host) {
  HostPolicy policy;
  policy.start_timeout = host.start_timeout;
  policy.release_after = host.idle.release_after;
  policy.stop_timeout = host.stop_grace_period + kStopMargin;
  policy.restart = RestartOf(host.restart);
  policy.restart_attempts_max = host.restart_attempts_max;
  policy.always_running = host.min_running;
  policy.to_disk = host.on_release == OnRelease::kCheckpoint;
  if (policy.to_disk) policy.stop_timeout += kDumpMax;
  policy.checkpoint_expires = host.checkpoint_expires;
  policy.max_lifetime = host.max_lifetime;
  return policy;
}

absl::Status AddHosts(const ClusterSpec& spec, Instant now, HostTable& table) {
  table.SetDualStack(spec.dual_stack);
  HostId next = 0;
  for (const HostSpec& host : spec.hosts) {
    IM_ASSIGN_OR_RETURN(const HostId id, table.Add({.name = host.name,
                                                    .address = host.address,
                                                    .policy = PolicyOf(host)},
                                                   now));
    IM_CHECK(id == next++);
  }
  next = 0;
  for (const HostSpec& host : spec.hosts) {
    const HostId id = next++;
    for (const std::string& leader : host.wake_with) {
      IM_ASSIGN_OR_RETURN(const HostId other, Find(table, leader));
      table.AddFollower(other, id, Cause::Kind::kWakeWith);
    }
    for (const DependencySpec& dependency : host.depends_on) {
      using Condition = DependencySpec::Condition;
      using Need = HostTable::Need::Kind;
      IM_ASSIGN_OR_RETURN(const HostId other, Find(table, dependency.host));
      const bool completed = dependency.condition == Condition::kCompleted;
      // What has completed is not run again.
      if (!completed) table.AddFollower(id, other, Cause::Kind::kDependsOn);
      if (dependency.condition != Condition::kStarted)
        table.AddNeed(id, {other, completed ? Need::kCompleted : Need::kUp});
    }
  }
  for (const GroupSpec& group : spec.groups) {
    if (!group.suspend_together || group.hosts.size() < 2) continue;
    std::vector<HostId> members;
    for (const std::string& name : group.hosts) {
      IM_ASSIGN_OR_RETURN(const HostId member, Find(table, name));
      members.push_back(member);
    }
    table.AddGroup(group.name, std::move(members));
  }
  return absl::OkStatus();
}

}  // namespace im::orchestrator
