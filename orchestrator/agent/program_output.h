// ProgramOutput: where the program's standard streams go.
//
// With a log: /dev/null in; out and err into a pipe that we read into a
// LogFile, or, when it is never turned over, straight into the file, which
// costs us nothing (a host that may go to disk has a pipe all the same: the file
// is of a mount that does not exist in the host). Without a log the program keeps the agent's own streams.

#ifndef IM_ORCHESTRATOR_AGENT_PROGRAM_OUTPUT_H_
#define IM_ORCHESTRATOR_AGENT_PROGRAM_OUTPUT_H_

#include <array>
#include <memory>

#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/status.h"
#include "orchestrator/agent/log_file.h"
#include "proto/agent.pb.h"

namespace im::agent {

class ProgramOutput {
 public:
  static absl::StatusOr<std::unique_ptr<ProgramOutput>> Open(const proto::StartRequest& request);

  // For the program; -1: the agent's own. Good until CloseProgramSide.
  std::array<int, 3> stdio() const;
  // The pipe's inode number; 0: the program has the file itself, or none.
  uint64_t pipe_inode() const;
  void CloseProgramSide();
  void Watch(EventLoop& loop);
  // What is left. Precondition: no process has the pipe any more, or it would
  // wait for that.
  void Drain();

 private:
  ProgramOutput() = default;

  std::unique_ptr<LogFile> log_;
  FileDescriptor null_;
  FileDescriptor program_side_;
  FileDescriptor our_side_;
  EventLoop::Watch watch_;
};

}  // namespace im::agent

#endif  // IM_ORCHESTRATOR_AGENT_PROGRAM_OUTPUT_H_
