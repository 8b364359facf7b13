// The end of a tree of processes where there is no PID namespace that would end
// as a whole with its init.

#ifndef IM_ORCHESTRATOR_AGENT_PROCESS_TREE_H_
#define IM_ORCHESTRATOR_AGENT_PROCESS_TREE_H_

namespace im::agent {

// From now on what descends from the calling process stays below it: orphans
// become its children.
void KeepDescendants();

// Kills all that descend from the calling process, and waits for their end.
// Precondition: KeepDescendants() was called before there were any.
void KillDescendants();

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_PROCESS_TREE_H_
