// IdleProbe: the evidence for the idle detector, from /proc, the cgroup and the
// attachment.

#ifndef IM_ORCHESTRATOR_AGENT_IDLE_PROBE_H_
#define IM_ORCHESTRATOR_AGENT_IDLE_PROBE_H_

#include <sys/types.h>

#include <string>

#include "orchestrator/agent/attachment.h"
#include "orchestrator/agent/cgroup.h"
#include "orchestrator/agent/idle_detector.h"

namespace im::agent {

class IdleProbe {
 public:
  // `cgroup` and `attachment` must outlive the probe. `init` sees the host's
  // files; `busy_file` is a path in there, or empty.
  IdleProbe(const Cgroup& cgroup, const Attachment& attachment, pid_t init, std::string busy_file,
            bool count_connections)
      : cgroup_(cgroup),
        attachment_(attachment),
        init_(init),
        busy_file_(std::move(busy_file)),
        count_connections_(count_connections) {}

  IdleEvidence Look(IdleDetector::Delegate::Look what) const;

 private:
  const Cgroup& cgroup_;
  const Attachment& attachment_;
  const pid_t init_;
  const std::string busy_file_;
  const bool count_connections_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_IDLE_PROBE_H_
