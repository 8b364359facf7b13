// AgentWords: what the Activator calls things, and what agents do (proto/agent.proto).

#ifndef IM_ORCHESTRATOR_AGENT_WORDS_H_
#define IM_ORCHESTRATOR_AGENT_WORDS_H_

#include "orchestrator/activator.h"
#include "proto/agent.pb.h"

namespace im::orchestrator {

proto::DesiredState::Goal GoalOf(Activator::Goal goal);
// Of a goal for a member of a group that goes to disk.
proto::DesiredState::DiskStep StepOf(Activator::Goal goal);

// Whether the goal is known, and what it was told before, is for the caller to add.
Activator::Report ReportOf(const proto::InstanceStatus& status);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_AGENT_WORDS_H_
