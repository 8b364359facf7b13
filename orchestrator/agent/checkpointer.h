// Checkpointer: a host's processes and connections to disk, and back, by CRIU.
//
//   dump     the host is paused and stays so; nothing goes in or out (Agent). CRIU
//            runs beside the program and copies it to DIRECTORY.new, and leaves it
//            as it was, frozen. Whatever fails until now, the host is just paused.
//            The manifest is written, DIRECTORY.new becomes DIRECTORY: now the
//            checkpoint counts, and the processes are killed, unheard. A member of a
//            group has some time between these two, in which it may be called off
//   restore  the manifest is removed: the checkpoint is used up. CRIU makes the
//            processes out of what is in DIRECTORY, as children of the host's init
//            with their old numbers, and their connections with them
//
// So a checkpoint is restored at most once, and an agent that is killed at any
// moment leaves either a whole one or none. There is no fsync: a checkpoint is
// worth nothing after a reboot (clocks have begun anew), and a wake must not wait
// for a disk. Who restores, and when, is the orchestrator's affair.
//
// CRIU runs in the host's PID, mount, UTS and network namespaces, so none of them
// is part of a checkpoint, nor is the TUN device; only the IPC namespace is. A
// frozen program must be named with --freeze-cgroup, or CRIU would wait for ever
// for its tasks. It takes a connection's state by TCP_REPAIR, and is told to lock
// no network, since all that comes and goes passes through us.
//
// CRIU that was killed leaves tasks with its code in them, and connections in
// repair: such a host is beyond saving.

#ifndef IM_ORCHESTRATOR_AGENT_CHECKPOINTER_H_
#define IM_ORCHESTRATOR_AGENT_CHECKPOINTER_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/file_descriptor.h"
#include "base/status.h"
#include "orchestrator/agent/cgroup.h"
#include "orchestrator/agent/checkpoint_checks.h"
#include "orchestrator/agent/sandbox.h"
#include "proto/agent.pb.h"

namespace im::agent {

class Checkpointer {
 public:
  // All must outlive it. `request` has checkpointing().
  Checkpointer(const proto::StartRequest& request, Cgroup& cgroup, Sandbox& sandbox)
      : request_(request), cgroup_(cgroup), sandbox_(sandbox) {}

  // ---- dump: BeginDump, CRIU's end, then Commit ----

  // Precondition: paused. `output_pipe`: ProgramOutput's. An error: nothing was done.
  absl::Status BeginDump(pid_t program, uint64_t output_pipe);
  bool dumping() const { return dumping_; }
  // DataLoss: the host cannot go on. Other errors: it is as before.
  absl::Status OnDumpEnded(int wait_status, const std::string& error);
  // Completes `manifest`, which has the packets, the timer and paused_at_ns, and writes
  // it beside the copy. An error: the host is as before, and there is no copy.
  absl::Status Prepare(proto::CheckpointManifest& manifest);
  // The same, and the copy counts.
  absl::Status Commit(proto::CheckpointManifest& manifest);
  // The copy is not to be used.
  void Discard();

  // ---- restore ----

  // The checkpoint is to be used. NotFound: there is none, or not for this host.
  static absl::StatusOr<proto::CheckpointManifest> Read(const proto::StartRequest& request);
  // From here on there is no checkpoint any more. `output`: what shall be the
  // program's stdout and stderr; -1: nothing. The processes of a member of a group are
  // stopped (SIGSTOP) then, and have not run.
  absl::Status BeginRestore(const proto::CheckpointManifest& manifest, int output);
  // What went wrong.
  std::string RestoreError(int wait_status, const std::string& error) const;

 private:
  const std::string& directory() const { return request_.checkpointing().directory(); }
  std::string new_directory() const { return directory() + ".new"; }
  void KeepLog(const std::string& log) const;
  absl::StatusOr<FileDescriptor> OpenDirectory(const std::string& path) const;

  const proto::StartRequest& request_;
  Cgroup& cgroup_;
  Sandbox& sandbox_;
  bool dumping_ = false;
  TreeNumbers numbers_;
  uint64_t output_pipe_ = 0;
};

// The first error of CRIU's log in words, without the place in its source.
std::string FirstErrorOf(absl::string_view log);

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_CHECKPOINTER_H_
