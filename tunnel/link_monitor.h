// LinkMonitor: hears from rtnetlink(7) what becomes of a network interface.
//
// The state is asked for at the start and whenever messages were lost, so the
// callbacks tell it at least once and after every change, in whatever order
// messages come. An interface that moves to another network namespace is
// removed from this one. There it can be read, now and then: a socket that
// listens there would keep that namespace alive for ever.

#ifndef IM_TUNNEL_LINK_MONITOR_H_
#define IM_TUNNEL_LINK_MONITOR_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/file_descriptor.h"
#include "base/status.h"

namespace im::tunnel {

struct LinkState {
  int mtu_bytes = 0;
  bool up = false;  // set up by whoever administers it
};

// In the calling thread's network namespace; NotFound if there is none.
absl::StatusOr<LinkState> ReadLink(const std::string& name);
// In the network namespace of the descriptor, which the thread enters for that
// moment (CAP_SYS_ADMIN).
absl::StatusOr<LinkState> ReadLinkIn(const FileDescriptor& name_space, const std::string& name);

// Owned by the loop's thread.
class LinkMonitor {
 public:
  struct Callbacks {
    std::function<void(const LinkState&)> on_state;  // also when it did not change
    std::function<void()> on_removed;                // once; may destroy the monitor
  };

  // In the calling thread's network namespace. `loop` must outlive it.
  static absl::StatusOr<std::unique_ptr<LinkMonitor>> Create(const std::string& name,
                                                             EventLoop& loop, Callbacks callbacks);

 private:
  LinkMonitor(FileDescriptor fd, int index, Callbacks callbacks);
  absl::Status Ask();
  void OnReadable();
  // False when the interface went, and perhaps the monitor with it.
  bool TakeMessages(const char* buffer, size_t size);

  FileDescriptor fd_;
  const int index_;
  Callbacks callbacks_;
  EventLoop::Watch watch_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_LINK_MONITOR_H_
