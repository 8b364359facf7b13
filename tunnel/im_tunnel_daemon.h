// Leaves for the background, as a daemon, without leaving the user in doubt:
// the command ends when the daemon is ready, or with what kept it from that.

#ifndef IM_TUNNEL_IM_TUNNEL_DAEMON_H_
#define IM_TUNNEL_IM_TUNNEL_DAEMON_H_

#include "base/file_descriptor.h"
#include "base/status.h"

namespace im::tunnel {

class ImTunnelDaemon {
 public:
  // Forks. Comes back in the child alone (or in the parent, if there can be
  // none): the parent waits for Report and exits, with 0 or with the message
  // on stderr and 1. `keep_stderr`: the child logs where the parent did.
  static absl::StatusOr<ImTunnelDaemon> Enter(bool keep_stderr);

  // Tells the parent, which then exits. Once.
  void Report(const absl::Status& status);

 private:
  explicit ImTunnelDaemon(FileDescriptor parent) : parent_(std::move(parent)) {}

  FileDescriptor parent_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_IM_TUNNEL_DAEMON_H_
