// SharedListener: a listener whose connections other threads take.
//
// Connections wait here until they are taken. With `backlog` of them waiting
// the listener is paused, so that further peers wait in their handshake; what
// was half open by then may still come, up to twice the backlog, and is reset
// beyond that.

#ifndef IM_NETSTACK_SHARED_LISTENER_H_
#define IM_NETSTACK_SHARED_LISTENER_H_

#include <deque>
#include <memory>

#include "absl/status/statusor.h"
#include "netstack/readiness.h"
#include "netstack/shared_stream.h"
#include "netstack/stack_thread.h"

namespace im::netstack {

// As Linux' SOMAXCONN: what a backlog may be at most.
inline constexpr int kBacklogMax = 4096;

class SharedListener final : public Readiness,
                             public StackThread::Resident,
                             public std::enable_shared_from_this<SharedListener> {
 public:
  // `backlog` is moved into 1 to kBacklogMax.
  static absl::StatusOr<std::shared_ptr<SharedListener>> Listen(
      const std::shared_ptr<StackThread>& thread, const Endpoint& local, int backlog);

  // ---- any thread ----
  // nullptr: none waits. Cancelled: closed, or the stack is gone.
  absl::StatusOr<std::shared_ptr<SharedStream>> Accept();
  // Those that wait are reset.
  void Close();
  Endpoint local() const { return local_; }

 private:
  SharedListener(std::weak_ptr<StackThread> handle, StackThread& thread, size_t backlog)
      : handle_(std::move(handle)), thread_(thread), backlog_(backlog) {}
  void OnAccept(std::unique_ptr<TcpConnection> connection);
  void OnStackGone() override;
  void End();

  const std::weak_ptr<StackThread> handle_;
  StackThread& thread_;  // the stack's thread alone, as listener_
  const size_t backlog_;
  std::unique_ptr<TcpListener> listener_;
  Endpoint local_;
  // Guarded by mutex():
  std::deque<std::shared_ptr<SharedStream>> waiting_;
  bool paused_ = false;
  bool over_ = false;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_SHARED_LISTENER_H_
