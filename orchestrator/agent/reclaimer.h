// Reclaimer: pushes a paused host's memory out of the machine's.
//
// Some time after the pause (kDelay, so that a host that is used again at once
// is left alone), in steps of kStepBytes with a turn of the loop between, so that
// a thaw waits for one step at most:
//
//   memory.reclaim of the host's cgroup (version 2), where it has one; it gets
//   the controller for this (cgroup.h)
//   else process_madvise(MADV_PAGEOUT) over what its processes have mapped;
//   pages that others have mapped too (libraries) stay
//
// Anonymous memory goes to swap or zram; where the machine has none only pages
// of files go, which are read again when they are needed. memory.force_empty of
// version 1 is not used: it cannot be interrupted, and a packet would wait for it.
//
// process_madvise needs CAP_SYS_NICE, so there is none without privileges.

#ifndef IM_ORCHESTRATOR_AGENT_RECLAIMER_H_
#define IM_ORCHESTRATOR_AGENT_RECLAIMER_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/file_descriptor.h"
#include "orchestrator/agent/cgroup.h"

namespace im::agent {

// A piece of a process's memory.
struct MappedRange {
  uint64_t begin = 0;
  uint64_t end = 0;
  friend bool operator==(const MappedRange&, const MappedRange&) = default;
};
// The text of /proc/PID/maps: what may be pushed out.
std::vector<MappedRange> ParseMaps(absl::string_view text);

class Reclaimer {
 public:
  static constexpr Duration kDelay = std::chrono::seconds(1);
  static constexpr uint64_t kStepBytes = 4 << 20;
  // Where little of what is mapped is in memory (terabytes may be reserved), a step
  // takes no time: below kQuickStep the next one is twice as long.
  static constexpr Duration kQuickStep = std::chrono::milliseconds(1);
  static constexpr uint64_t kSparseStepBytesMax = uint64_t{1} << 42;

  // `cgroup` must outlive it.
  Reclaimer(bool enabled, const Cgroup& cgroup) : enabled_(enabled), cgroup_(cgroup) {}

  void OnPaused(Instant now);
  // `used`: not just for a moment.
  void OnThawed(bool used);

  // When to call OnTimer; kNever: nothing is to be done.
  Instant NextDeadline() const { return next_; }
  // Does a step. True if it was the last one.
  bool OnTimer(Instant now);

  // By how much the host's memory has shrunk in this pause.
  uint64_t reclaimed_bytes() const { return reclaimed_bytes_; }

 private:
  struct Process {
    pid_t pid = 0;
    std::vector<MappedRange> ranges;  // still to be done, last first
  };
  void Begin();
  // False: nothing is left.
  bool Step();
  bool StepOfCgroup();
  bool StepOfProcesses();

  const bool enabled_;
  const Cgroup& cgroup_;
  Instant next_ = kNever;
  bool begun_ = false;
  uint64_t bytes_before_ = 0;     // since the host was used: the most
  uint64_t reclaimed_bytes_ = 0;
  uint64_t to_reclaim_ = 0;       // by the cgroup
  uint64_t step_bytes_ = kStepBytes;
  FileDescriptor reclaim_file_;   // of the cgroup, while it works
  std::vector<Process> processes_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_RECLAIMER_H_
