// Groups: what GroupSuspender is told, and what it asks for.

#include <utility>

#include "orchestrator/controller.h"

namespace im::orchestrator {
namespace {

// Addresses as an agent sent them; what is none of a host is left out.
std::vector<HostId> HostsAt(const google::protobuf::RepeatedPtrField<std::string>& addresses,
                            const HostTable& hosts) {
  std::vector<HostId> found;
  for (const std::string& bytes : addresses) {
    if (bytes.size() != 4 && bytes.size() != 16) continue;
    const IpAddress address = IpAddress::FromBytes(
        {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
    if (const std::optional<HostId> host = hosts.FindByAddress(address)) found.push_back(*host);
  }
  return found;
}

}  // namespace

void Controller::ReportToGroup(HostId host, const proto::GroupStatus& status) {
  if (!hosts_.GroupOf(host).has_value()) return;
  GroupSuspender::Report report;
  report.pause_answered = status.pause_answered();
  report.quiet = status.quiet();
  report.falling = status.falling();
  report.waking = status.waking();
  report.beat_late = status.beat_late();
  report.leads = HostsAt(status.leads(), hosts_);
  report.awaits = HostsAt(status.awaits(), hosts_);
  groups_.OnReport(host, std::move(report), now());
}

void Controller::RunGroupActions() {
  for (const GroupSuspender::Action& action : groups_.TakeActions()) {
    if (action.kind == GroupSuspender::Action::Kind::kWake) {
      // Nobody waits for the answer; when all is shut down nothing is woken.
      (void)activator_.Wake(action.host, MakeCause(Cause::Kind::kGroup, action.reason), now());
      continue;
    }
    const auto it = instances_.find(action.host);
    if (it == instances_.end()) continue;
    it->second->group_pauses = action.round;
    it->second->group_pause_forced = action.forced;
    it->second->group_pause_at_once = action.at_once;
    SendDesired(*it->second);
  }
}

// Those that sleep await its answers although it was withdrawn, which might have been called
// off; after this they do not.
void Controller::TellFellows(const Instance& ended) {
  const std::optional<uint32_t> group = hosts_.GroupOf(ended.host);
  if (!group.has_value() || shutting_down_) return;
  for (const HostId fellow : hosts_.groups()[*group].members) {
    const Instance* const instance = FindInstance(fellow);
    if (fellow != ended.host && instance != nullptr && instance->reachable)
      introductions_.TellGone(instance->address, ended.address, now());
  }
}

}  // namespace im::orchestrator
