// Cgroup: the group of a host's processes: limits, freezing, accounts.
//
// The group is im/CLUSTER/HOST.INCARNATION below the root of a hierarchy, or
// below the agent's own group where the root may not be written. What a
// machine has is taken as it is:
//
//   cgroup.freeze of version 2  → freezes in some 30 µs; processes are born
//                                 into the group (CLONE_INTO_CGROUP), because
//                                 moving a process costs milliseconds
//   freezer of version 1        → the same with its own files
//   neither                     → SIGSTOP and SIGCONT to every process
//
// The program and what it starts are in the group; the agent and the
// namespace's init are not, so they stay awake. A hierarchy of version 1 is
// joined for a limit only when the limit was asked for and version 2 cannot
// give it.
//
// cgroups(7), Linux: cgroup-v2.rst, cgroup-v1/freezer-subsystem.rst.

#ifndef IM_ORCHESTRATOR_AGENT_CGROUP_H_
#define IM_ORCHESTRATOR_AGENT_CGROUP_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file_descriptor.h"
#include "base/status.h"
#include "orchestrator/agent/cgroup_layout.h"

namespace im::agent {

class Cgroup {
 public:
  struct Options {
    std::string cluster;
    std::string host;
    uint64_t incarnation = 0;
    uint64_t mem_limit_bytes = 0;  // 0: none
    double cpus = 0;               // 0: no limit
    // Its memory is to be reclaimed: ReclaimFile() is there if version 2 has the controller.
    bool reclaim = false;
  };

  // Never fails: what is not permitted is left out and said in notes().
  static std::unique_ptr<Cgroup> Create(const Options& options, const CgroupLayout& layout);
  // Removes what Remove() has not.
  ~Cgroup();

  enum class Freezer { kVersion2, kVersion1, kSignals };
  Freezer freezer() const { return freezer_; }
  // Limits that could not be set, and why.
  const std::vector<std::string>& notes() const { return notes_; }

  // For who starts processes of the group, in this order: clone3 with
  // CLONE_INTO_CGROUP if the descriptor is not -1; then the new process writes
  // "0" to each of join_fds().
  int clone_into_fd() const { return directory_fd_.get(); }
  std::vector<int> join_fds() const;

  // The init process of the host's PID namespace; for kSignals and accounts.
  void SetInit(pid_t init) { init_ = init; }

  absl::Status Freeze();
  absl::Status Thaw();
  // SIGCONT to all processes; takes effect when they are thawed.
  void Continue();
  // Precondition: frozen. The processes end without running again.
  void KillFrozen();
  // For an init that outlives its agent: where "THAWED" must be written before
  // processes can be killed; -1 if frozen ones can. And what Remove() removes.
  int thaw_fd() const { return freezer_ == Freezer::kVersion1 ? state_.get() : -1; }
  const std::vector<std::string>& directories() const { return directories_; }
  static void RemoveDirectory(const std::string& directory);

  Duration CpuTime() const;
  uint64_t MemoryBytes() const;
  // Where it is frozen; "" for kSignals.
  const std::string& freezer_directory() const { return freezer_directory_; }
  // memory.reclaim of version 2, if it is there; else "".
  std::string ReclaimFile() const;
  std::vector<pid_t> Processes() const;

  // Removes the group. Precondition: its processes have ended.
  void Remove();
  // Kills and removes groups of earlier incarnations that were left behind.
  void RemoveStale();

 private:
  Cgroup() = default;
  void SetLimits(const CgroupLayout& layout);
  bool SetVersion2Limits(const CgroupLayout::Hierarchy& v2);
  void SetVersion1Limit(const CgroupLayout& layout, const std::string& controller,
                        const std::string& file, const std::string& value);
  // Makes the group's directory in `hierarchy`; "" if it may not.
  std::string MakeDirectory(const CgroupLayout::Hierarchy& hierarchy);
  absl::Status SignalAll(int signal);

  Options options_;
  Freezer freezer_ = Freezer::kSignals;
  std::vector<std::string> notes_;
  std::string freezer_directory_;         // of version 2, or of version 1's freezer
  FileDescriptor directory_fd_;           // version 2 only
  FileDescriptor state_;                  // cgroup.freeze or freezer.state
  std::vector<std::string> directories_;  // all that were made
  std::vector<FileDescriptor> joins_;     // cgroup.procs of those of version 1
  std::string memory_directory_;
  pid_t init_ = 0;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_CGROUP_H_
