// ContainerStart: im-peer started as a container by an OCI runtime (runc, crun),
// in PID, mount, IPC and UTS namespaces and a cgroup of its own. The network is
// the caller's: to give it one of its own is not the runtime's work, and would
// add to its time.

#ifndef IM_BENCH_CONTAINER_START_H_
#define IM_BENCH_CONTAINER_START_H_

#include <memory>
#include <string>

#include "base/status.h"
#include "bench/process.h"

namespace im::bench {

class ContainerStart {
 public:
  // Prepares the bundle. `runtime`: "runc" or "crun"; `bin`: the folder of
  // im-peer, whose echo will be at `port`.
  static absl::StatusOr<std::unique_ptr<ContainerStart>> Prepare(const std::string& runtime,
                                                                 const std::string& bin, int port);
  ~ContainerStart();
  ContainerStart(const ContainerStart&) = delete;
  ContainerStart& operator=(const ContainerStart&) = delete;

  // The runtime, on its way to the container; it stays as long as that does.
  absl::StatusOr<Process> Start();
  // Ends the container and forgets it.
  absl::Status Remove();

 private:
  ContainerStart() = default;
  absl::Status WriteBundle(const std::string& bin, int port);

  std::string runtime_;
  std::string folder_;
  std::string id_;
};

}  // namespace im::bench

#endif  // IM_BENCH_CONTAINER_START_H_
