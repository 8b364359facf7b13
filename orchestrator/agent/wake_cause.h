// Why a host wakes, as the agent tells it.

#ifndef IM_ORCHESTRATOR_AGENT_WAKE_CAUSE_H_
#define IM_ORCHESTRATOR_AGENT_WAKE_CAUSE_H_

#include "base/ip_header.h"
#include "orchestrator/agent/traffic.h"
#include "proto/agent.pb.h"

namespace im::agent {

proto::WakeCause CauseOf(Use use, const IpView& packet);
proto::WakeCause CauseOf(proto::WakeCause::Kind kind);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_WAKE_CAUSE_H_
