// StateDir: the directory of one cluster's imd, held by one imd at a time.
//
//   lock          flock(2)ed while an imd runs; holds its pid and its life
//   api.sock      gRPC, for the command line; of the user who brought the cluster up
//   metrics.sock  HTTP, for Prometheus and im metrics; of the same user
//   state.pb      what a restarted imd needs (store.h)
//   imd.log       imd's own log
//   hosts/NAME/   agent.sock, exit, log (the program's output), agent.log; 0700

#ifndef IM_ORCHESTRATOR_STATE_DIR_H_
#define IM_ORCHESTRATOR_STATE_DIR_H_

#include <cstdint>
#include <string>

#include "base/file_descriptor.h"
#include "base/status.h"

namespace im::orchestrator {

inline constexpr char kMetricsSocketName[] = "metrics.sock";

class StateDir {
 public:
  // Makes what is missing and takes the lock. FailedPrecondition names the pid
  // of the imd that has it.
  static absl::StatusOr<StateDir> Open(const std::string& path);

  const std::string& path() const { return path_; }  // absolute
  std::string api_socket() const { return path_ + "/api.sock"; }
  // How many imds have held the directory, this one too. Counted within blocks
  // that the lock file has already, as far as the file system overwrites in
  // place: so each has a number of its own also on a full disk.
  uint64_t life() const { return life_; }
  std::string state_file() const { return path_ + "/state.pb"; }

 private:
  StateDir(std::string path, FileDescriptor lock, uint64_t life)
      : path_(std::move(path)), lock_(std::move(lock)), life_(life) {}

  std::string path_;
  FileDescriptor lock_;
  uint64_t life_;
};

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_STATE_DIR_H_
