// im::netstack for programs without an event loop: calls that wait.
//
//   auto stack = im::netstack::BlockingStack::Create().value();
//   stack->AddInterface({.address = ip, .prefix_length = 24}, uplink).value();
//   auto listener = stack->Listen({ip, 80}).value();
//   auto connection = listener->Accept().value();
//   size_t n = connection->Read(buffer, Within(std::chrono::seconds(5))).value();
//
// The stack runs on a thread of its own. All calls may be made by any thread,
// those on one object by several at once: a Read and a Write do not wait for
// each other, and Close wakes whoever waits. A call that waits ends at its
// deadline with DeadlineExceeded, and may be made again. Errors are those of
// net.h; Cancelled says that we closed it, or that the stack is gone.
// Destroying an object closes it; of the stack, all that is open on it.

#ifndef IM_NETSTACK_BLOCKING_H_
#define IM_NETSTACK_BLOCKING_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "netstack/shared_listener.h"
#include "netstack/shared_stream.h"
#include "netstack/shared_udp.h"
#include "netstack/stack_thread.h"

namespace im::netstack {

// So long from now.
Instant Within(Duration duration);

class BlockingConnection {
 public:
  explicit BlockingConnection(std::shared_ptr<SharedStream> stream);
  // What was written is still delivered (for at most kLingerTime); with bytes
  // unread the connection is reset.
  ~BlockingConnection();

  // Waits for at least a byte; 0 is the peer's FIN.
  absl::StatusOr<size_t> Read(std::span<uint8_t> buffer, Instant deadline = kNever);
  // Waits until all of it is taken: by the stack, not by the peer. After an
  // error it is not told how much was.
  absl::Status Write(std::span<const uint8_t> bytes, Instant deadline = kNever);
  // FIN after what was written; reading goes on.
  void CloseWrite();
  // Wakes whoever waits, with Cancelled.
  void Close();
  // RST.
  void Abort();

  Endpoint local() const;
  Endpoint remote() const;
  void SetNoDelay(bool on);
  void SetKeepAlive(const std::optional<KeepAlive>& keep_alive);
  SharedStream& stream() { return *stream_; }

 private:
  const std::shared_ptr<SharedStream> stream_;
};

class BlockingListener {
 public:
  explicit BlockingListener(std::shared_ptr<SharedListener> listener);
  ~BlockingListener();

  absl::StatusOr<std::unique_ptr<BlockingConnection>> Accept(Instant deadline = kNever);
  void Close();
  Endpoint local() const;
  SharedListener& listener() { return *listener_; }

 private:
  const std::shared_ptr<SharedListener> listener_;
};

class BlockingUdp {
 public:
  explicit BlockingUdp(std::shared_ptr<SharedUdp> endpoint);
  ~BlockingUdp();

  // Only from and to `remote` from now on; ICMP errors are told.
  void Connect(const Endpoint& remote);
  // The datagram's size, which may be more than the buffer took. `from` may be
  // null.
  absl::StatusOr<size_t> Receive(std::span<uint8_t> buffer, Endpoint* from,
                                 Instant deadline = kNever);
  absl::Status SendTo(const Endpoint& remote, std::span<const uint8_t> payload,
                      Instant deadline = kNever);
  void Close();
  Endpoint local() const;

 private:
  const std::shared_ptr<SharedUdp> endpoint_;
};

class BlockingStack {
 public:
  // AlreadyExists: there is a stack in this process.
  static absl::StatusOr<std::unique_ptr<BlockingStack>> Create();
  // Preconditions: no other thread is in a call on this object itself.
  ~BlockingStack();

  // `uplink` makes what takes the interface's packets, a tunnel say, on the
  // stack's thread (StackThread::Uplink). Gives a number for RemoveInterface.
  absl::StatusOr<int> AddInterface(const InterfaceOptions& options,
                                   const StackThread::Uplink& uplink);
  absl::Status RemoveInterface(int number);

  // Waits until it is connected; options.timeout is the deadline.
  absl::StatusOr<std::unique_ptr<BlockingConnection>> Dial(const DialOptions& options);
  // At most `backlog` connections wait to be accepted; then peers do.
  absl::StatusOr<std::unique_ptr<BlockingListener>> Listen(const Endpoint& local,
                                                           int backlog = 128);
  absl::StatusOr<std::unique_ptr<BlockingUdp>> BindUdp(const Endpoint& local);

  // Runs it on the stack's thread, and waits. False: the stack is gone.
  bool Run(const std::function<void(Stack&)>& function);

 private:
  explicit BlockingStack(std::shared_ptr<StackThread> thread) : thread_(std::move(thread)) {}
  const std::shared_ptr<StackThread> thread_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_BLOCKING_H_
