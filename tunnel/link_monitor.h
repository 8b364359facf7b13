// LinkMonitor: hears from rtnetlink(7) when a network interface changes its
// MTU or goes.

#ifndef IM_TUNNEL_LINK_MONITOR_H_
#define IM_TUNNEL_LINK_MONITOR_H_

#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/status.h"

namespace im::tunnel {

// In the calling thread's network namespace. Owned by the loop's thread.
class LinkMonitor {
 public:
  struct Callbacks {
    std::function<void(int mtu_bytes)> on_mtu;  // also when it did not change
    std::function<void()> on_removed;
  };

  // `loop` must outlive it.
  static absl::StatusOr<std::unique_ptr<LinkMonitor>> Create(const std::string& name,
                                                             EventLoop& loop, Callbacks callbacks);

 private:
  LinkMonitor(FileDescriptor fd, int index, Callbacks callbacks);
  void OnReadable();

  FileDescriptor fd_;
  const int index_;
  Callbacks callbacks_;
  EventLoop::Watch watch_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_LINK_MONITOR_H_
