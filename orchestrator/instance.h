// Instance: what the controller knows of one incarnation of a host.

#ifndef IM_ORCHESTRATOR_INSTANCE_H_
#define IM_ORCHESTRATOR_INSTANCE_H_

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/ip_address.h"
#include "orchestrator/activator.h"
#include "orchestrator/provider.h"
#include "proto/agent.pb.h"
#include "tunnel/keys.h"

namespace im::orchestrator {

struct Instance {
  HostId host = kNoHost;
  InstanceId id;
  IpAddress address;
  tunnel::PublicKey key;
  std::string directory;
  // The provider knows it. A guest's agent is its client's, until a restarted
  // orchestrator takes it over.
  bool provided = true;
  bool adopted = false;  // ran already when this orchestrator began
  InstanceHandle handle;
  int64_t started_unix_nanos = 0;
  Cause cause;

  // Its agent can be told something: it was heard from, or its endpoint saved.
  bool reachable = false;

  // What it is to do.
  Activator::Goal goal = Activator::Goal::kRun;
  Cause goal_cause;
  // The agent is not to hear of the goal yet: the host is being withdrawn from
  // its peers, or the agent cannot be reached.
  bool goal_deferred = false;
  uint64_t thaws_known = 0;  // when it was decided to release it if it is idle
  uint64_t suspend_requests = 0;
  bool suspend_asked = false;  // and not paused since
  uint64_t wake_requests = 0;
  uint64_t group_pauses = 0;  // the round of its group in which it was asked
  bool group_pause_forced = false;
  bool group_pause_at_once = false;

  proto::InstanceStatus status;  // the newest; version 0: none yet
  Instant status_at;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_INSTANCE_H_
