// SharedStream: a TCP connection that other threads read and write, without
// waiting for the stack's thread.
//
// Two queues of at most kSharedBufferBytes lie between: the stack's thread
// fills `in_` from the connection and empties `out_` into it. Whoever finds a
// queue no longer full (or no longer empty) that the other side waits for
// tells it: the stack's thread by Readiness, the program by Post, of which one
// at a time is under way. So a stream of small reads and writes costs a wake-up
// of the stack's thread now and then, not one each.
//
// Close() is close(2): what was written is still delivered, for at most
// kLingerTime; with bytes unread the connection is reset.

#ifndef IM_NETSTACK_SHARED_STREAM_H_
#define IM_NETSTACK_SHARED_STREAM_H_

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "netstack/byte_queue.h"
#include "netstack/plain_status.h"
#include "netstack/readiness.h"
#include "netstack/stack_thread.h"

namespace im::netstack {

// Bytes that wait in each direction between the stack and the program, beside
// lwIP's own buffers: what a wake-up's time is worth at 10 Gb/s.
inline constexpr size_t kSharedBufferBytes = 256 << 10;

// How long a closed stream goes on trying to deliver.
inline constexpr Duration kLingerTime = std::chrono::seconds(60);

// The outcome of a call that does not wait.
struct IoResult {
  size_t size = 0;           // bytes moved; of a read, 0: the peer's FIN
  bool would_block = false;  // wait for readiness
  absl::Status status;
};

class SharedStream final : public Readiness,
                           public StackThread::Resident,
                           public std::enable_shared_from_this<SharedStream>,
                           private TcpConnection::Handler {
 public:
  // Any thread. Writable once it is connected; Over if that fails.
  static std::shared_ptr<SharedStream> Dial(const std::shared_ptr<StackThread>& thread,
                                            const DialOptions& options);
  // The stack's thread.
  static std::shared_ptr<SharedStream> Adopt(const std::weak_ptr<StackThread>& handle,
                                             StackThread& thread,
                                             std::unique_ptr<TcpConnection> connection);

  // ---- any thread ----
  IoResult Read(std::span<uint8_t> buffer);
  // Cancelled after CloseWrite or Close; Aborted once the peer is gone.
  IoResult Write(std::span<const uint8_t> bytes);
  void CloseWrite();
  void Close();
  // Resets the connection; what is read and written from now on is Cancelled.
  void Abort();
  void SetNoDelay(bool on);
  void SetKeepAlive(const std::optional<KeepAlive>& keep_alive);

  bool connected();
  // Why it ended; OK while it lives, and when both sides closed.
  absl::Status status();
  // Unspecified until connected.
  Endpoint local();
  Endpoint remote();
  size_t readable_bytes();

 private:
  SharedStream(std::weak_ptr<StackThread> handle, StackThread& thread)
      : handle_(std::move(handle)), thread_(thread) {}

  void Start(Stack& stack, const DialOptions& options);
  void Established();
  void PostPump();
  void Pump();
  void PumpIn();
  void PumpOut();
  void Linger();
  // The connection is over; what it still holds has to be read first.
  void End(const absl::Status& status);
  // Lets go of the connection. May destroy *this unless the caller holds it.
  void Release();
  // It could not be begun, or the stack is gone.
  void Fail(const absl::Status& status);
  void OnStackGone() override;
  void ChangeConnection(std::function<void(TcpConnection&)> change);
  void UpdateReady();  // mutex held

  void OnConnected() override;
  void OnReadable() override { PumpIn(); }
  void OnWritable() override { PumpOut(); }
  void OnReadClosed() override;
  void OnClosed(const absl::Status& status) override { End(status); }

  const std::weak_ptr<StackThread> handle_;
  // The stack's thread alone:
  StackThread& thread_;
  std::unique_ptr<TcpConnection> connection_;
  EventLoop::Timer linger_timer_;
  bool fin_came_ = false;
  bool fin_given_ = false;
  bool ended_ = false;
  // Guarded by mutex():
  ByteQueue in_;
  ByteQueue out_;
  Endpoint local_;
  Endpoint remote_;
  PlainStatus status_;
  bool connected_ = false;
  bool read_closed_ = false;   // the peer's FIN is at the end of in_
  bool write_closed_ = false;  // by CloseWrite
  bool closed_ = false;        // by Close or Abort
  bool over_ = false;
  bool in_waits_ = false;      // in_ was full: the stack has more
  bool pump_posted_ = false;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_SHARED_STREAM_H_
