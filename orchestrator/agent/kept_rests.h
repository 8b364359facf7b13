// KeptRests: the rest of a wait that the kernel keeps in the program's memory, of a
// host on disk.
//
// select, pselect6 and ppoll go on with what was left of their timeout when they were
// interrupted, which was when the host was paused (frozen_rests.h). CRIU begins the
// call anew with that. So before a restore the time that the host was away is taken off
// in the image of its memory: pagemap-PROCESS.img says where a page is in
// pages-ID.img.

#ifndef IM_ORCHESTRATOR_AGENT_KEPT_RESTS_H_
#define IM_ORCHESTRATOR_AGENT_KEPT_RESTS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/clock.h"
#include "proto/agent.pb.h"

namespace im::agent {

// Of frozen processes.
std::vector<proto::KeptRest> RestsToKeep(const std::vector<pid_t>& processes);

// In the images in `directory`. A rest that is not found stays, and the wait is longer.
void ShortenKeptRests(const std::string& directory,
                      const google::protobuf::RepeatedPtrField<proto::KeptRest>& rests,
                      Duration away);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_KEPT_RESTS_H_
