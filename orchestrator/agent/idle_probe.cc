#include "orchestrator/agent/idle_probe.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "orchestrator/agent/proc_stat.h"

namespace im::agent {

IdleEvidence IdleProbe::Look(IdleDetector::Delegate::Look what) const {
  IdleEvidence evidence;
  evidence.cpu = cgroup_.CpuTime();
  if (what == IdleDetector::Delegate::Look::kCpu) return evidence;
  const TaskCounts tasks = CountTasks(cgroup_.Processes());
  evidence.tasks_running = tasks.running;
  evidence.tasks_in_disk_wait = std::max(0, tasks.disk_wait - attachment_.CountWaitingCalls());
  evidence.task = tasks.name;
  if (!busy_file_.empty()) {
    const std::string path = absl::StrCat("/proc/", init_, "/root/", busy_file_);
    evidence.busy_file = access(path.c_str(), F_OK) == 0;
  }
  if (count_connections_) evidence.connections = attachment_.CountConnections();
  return evidence;
}

}  // namespace im::agent
