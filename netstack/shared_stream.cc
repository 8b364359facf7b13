#include "netstack/shared_stream.h"

#include <algorithm>
#include <utility>

namespace im::netstack {
namespace {

// Room in a queue that is worth a wake-up of whoever fills it.
constexpr size_t kWorthwhileBytes = kSharedBufferBytes / 4;

}  // namespace

// ---- making ----

std::shared_ptr<SharedStream> SharedStream::Dial(const std::shared_ptr<StackThread>& thread,
                                                 const DialOptions& options) {
  std::shared_ptr<SharedStream> self(new SharedStream(thread, *thread));
  self->remote_ = options.remote;
  if (!thread->Post([self, options](Stack& stack) { self->Start(stack, options); }))
    self->Fail(absl::CancelledError("the stack is gone"));
  return self;
}

void SharedStream::Start(Stack& stack, const DialOptions& options) {
  {
    const std::lock_guard lock(mutex());
    if (closed_) return;
  }
  absl::StatusOr<std::unique_ptr<TcpConnection>> dialled = stack.Dial(options, this);
  if (!dialled.ok()) return Fail(dialled.status());
  connection_ = *std::move(dialled);
  thread_.Admit(shared_from_this());
}

std::shared_ptr<SharedStream> SharedStream::Adopt(const std::weak_ptr<StackThread>& handle,
                                                  StackThread& thread,
                                                  std::unique_ptr<TcpConnection> connection) {
  std::shared_ptr<SharedStream> self(new SharedStream(handle, thread));
  self->connection_ = std::move(connection);
  self->connection_->SetHandler(self.get());
  thread.Admit(self);
  self->Established();
  return self;
}

void SharedStream::Established() {
  const std::lock_guard lock(mutex());
  connected_ = true;
  local_ = connection_->local();
  remote_ = connection_->remote();
  UpdateReady();
}

// ---- any thread ----

IoResult SharedStream::Read(std::span<uint8_t> buffer) {
  IoResult result;
  bool pump = false;
  {
    const std::lock_guard lock(mutex());
    if (closed_) return {.status = absl::CancelledError("the connection is closed")};
    result.size = in_.Take(buffer);
    if (result.size == 0 && !buffer.empty() && !read_closed_) {
      if (over_ && !status_.ok()) {
        result.status = status_.Get();
      } else {
        result.would_block = !over_;
      }
    }
    if (in_waits_ && in_.size() <= kSharedBufferBytes - kWorthwhileBytes) {
      in_waits_ = false;
      pump = true;
    }
    UpdateReady();
  }
  if (pump) PostPump();
  return result;
}

IoResult SharedStream::Write(std::span<const uint8_t> bytes) {
  IoResult result;
  {
    const std::lock_guard lock(mutex());
    if (closed_ || write_closed_)
      return {.status = absl::CancelledError("the connection is closed")};
    if (over_)
      return {.status = status_.ok() ? absl::AbortedError("connection reset") : status_.Get()};
    if (connected_) result.size = std::min(bytes.size(), kSharedBufferBytes - out_.size());
    result.would_block = result.size == 0 && !bytes.empty();
    if (result.size == 0) return result;
    out_.Append(bytes.first(result.size));
    UpdateReady();
  }
  PostPump();
  return result;
}

void SharedStream::CloseWrite() {
  {
    const std::lock_guard lock(mutex());
    write_closed_ = true;
    UpdateReady();
  }
  PostPump();
}

void SharedStream::Close() {
  {
    const std::lock_guard lock(mutex());
    if (std::exchange(closed_, true)) return;
    UpdateReady();
  }
  if (const auto thread = handle_.lock())
    thread->Post([self = shared_from_this()](Stack&) { self->Linger(); });
}

void SharedStream::Abort() {
  {
    const std::lock_guard lock(mutex());
    closed_ = true;
    UpdateReady();
  }
  if (const auto thread = handle_.lock())
    thread->Post([self = shared_from_this()](Stack&) {
      if (self->connection_ == nullptr) return;
      self->connection_->Abort();
      self->Release();
    });
}

void SharedStream::ChangeConnection(std::function<void(TcpConnection&)> change) {
  if (const auto thread = handle_.lock())
    thread->Post([self = shared_from_this(), change = std::move(change)](Stack&) {
      if (self->connection_ != nullptr) change(*self->connection_);
    });
}

void SharedStream::SetNoDelay(bool on) {
  ChangeConnection([on](TcpConnection& connection) { connection.SetNoDelay(on); });
}

void SharedStream::SetKeepAlive(const std::optional<KeepAlive>& keep_alive) {
  ChangeConnection([keep_alive](TcpConnection& connection) {
    connection.SetKeepAlive(keep_alive);
  });
}

bool SharedStream::connected() {
  const std::lock_guard lock(mutex());
  return connected_;
}

absl::Status SharedStream::status() {
  const std::lock_guard lock(mutex());
  return status_.Get();
}

Endpoint SharedStream::local() {
  const std::lock_guard lock(mutex());
  return local_;
}

Endpoint SharedStream::remote() {
  const std::lock_guard lock(mutex());
  return remote_;
}

size_t SharedStream::readable_bytes() {
  const std::lock_guard lock(mutex());
  return in_.size();
}

void SharedStream::PostPump() {
  {
    const std::lock_guard lock(mutex());
    if (std::exchange(pump_posted_, true)) return;
  }
  if (const auto thread = handle_.lock())
    thread->Post([self = shared_from_this()](Stack&) { self->Pump(); });
}

// ---- the stack's thread ----

void SharedStream::Pump() {
  {
    const std::lock_guard lock(mutex());
    pump_posted_ = false;
  }
  PumpIn();
  PumpOut();
}

void SharedStream::OnConnected() {
  Established();
  PumpOut();  // CloseWrite may have been called
}

void SharedStream::OnReadClosed() {
  fin_came_ = true;
  PumpIn();
}

void SharedStream::PumpIn() {
  if (connection_ == nullptr) return;
  const auto self = shared_from_this();
  bool release;
  {
    const std::lock_guard lock(mutex());
    while (!closed_ && in_.size() < kSharedBufferBytes && connection_->ReadableBytes() > 0)
      in_.Commit(connection_->Read(in_.Room()));
    in_waits_ = !closed_ && connection_->ReadableBytes() > 0;
    if (fin_came_ && !in_waits_) read_closed_ = true;
    release = ended_ && !in_waits_;
    UpdateReady();
  }
  if (release) Release();
}

void SharedStream::PumpOut() {
  if (connection_ == nullptr) return;
  const auto self = shared_from_this();
  bool finished, closed;
  {
    const std::lock_guard lock(mutex());
    while (!out_.empty()) {
      const std::span<const uint8_t> front = out_.Front();
      const size_t n = connection_->Write(front);
      out_.Drop(n);
      if (n < front.size()) break;  // OnWritable will come
    }
    closed = closed_;
    finished = out_.empty() && (write_closed_ || closed_) && connected_;
    UpdateReady();
  }
  if (!finished) return;
  if (!std::exchange(fin_given_, true)) connection_->CloseWrite();
  if (closed) Release();  // lwIP delivers the rest
}

void SharedStream::Linger() {
  if (connection_ == nullptr) return;
  const auto self = shared_from_this();
  bool reset;
  {
    const std::lock_guard lock(mutex());
    reset = ended_ || !connected_ || !in_.empty() || connection_->ReadableBytes() > 0;
    in_.Clear();
  }
  if (reset) return Release();
  linger_timer_ = thread_.stack()->loop().After(kLingerTime, [this] { Release(); });
  PumpOut();
}

void SharedStream::End(const absl::Status& status) {
  if (connection_ == nullptr) return;
  const auto self = shared_from_this();
  ended_ = true;
  {
    const std::lock_guard lock(mutex());
    status_ = status;
    out_.Clear();
  }
  PumpIn();
}

void SharedStream::Release() {
  const auto self = shared_from_this();
  linger_timer_.Reset();
  connection_.reset();  // resets it, unless it was closed
  {
    const std::lock_guard lock(mutex());
    over_ = true;
    out_.Clear();
    UpdateReady();
  }
  thread_.Dismiss(this);
}

void SharedStream::Fail(const absl::Status& status) {
  const std::lock_guard lock(mutex());
  status_ = status;
  over_ = true;
  UpdateReady();
}

void SharedStream::OnStackGone() {
  const auto self = shared_from_this();
  Fail(absl::CancelledError("the stack is gone"));
  Release();
}

void SharedStream::UpdateReady() {
  uint32_t events = 0;
  const bool end = over_ || closed_;
  if (!in_.empty() || read_closed_ || end) events |= kReadable;
  if (end || (connected_ && !write_closed_ &&
              out_.size() <= kSharedBufferBytes - kWorthwhileBytes))
    events |= kWritable;
  if (end) events |= kOver;
  SetReady(events);
}

}  // namespace im::netstack
