// From a Transition to the Event that people read.

#ifndef IM_ORCHESTRATOR_TRANSITION_EVENT_H_
#define IM_ORCHESTRATOR_TRANSITION_EVENT_H_

#include <cstdint>

#include "orchestrator/host_table.h"
#include "proto/api.pb.h"

namespace im::orchestrator {

proto::Event TransitionEvent(const Transition& transition, const HostTable& hosts,
                             int64_t unix_nanos);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_TRANSITION_EVENT_H_
