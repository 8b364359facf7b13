#include "netstack/shared_listener.h"

#include <algorithm>
#include <utility>

namespace im::netstack {

absl::StatusOr<std::shared_ptr<SharedListener>> SharedListener::Listen(
    const std::shared_ptr<StackThread>& thread, const Endpoint& local, int backlog) {
  std::shared_ptr<SharedListener> self(new SharedListener(
      thread, *thread, static_cast<size_t>(std::clamp(backlog, 1, kBacklogMax))));
  absl::Status status = absl::CancelledError("the stack is gone");
  thread->Run([&](Stack& stack) {
    auto listener = stack.Listen(
        local, [raw = self.get()](std::unique_ptr<TcpConnection> connection) {
          raw->OnAccept(std::move(connection));
        });
    status = listener.status();
    if (!listener.ok()) return;
    self->listener_ = *std::move(listener);
    self->local_ = self->listener_->local();
    thread->Admit(self);
  });
  if (!status.ok()) return status;
  return self;
}

void SharedListener::OnAccept(std::unique_ptr<TcpConnection> connection) {
  {
    const std::lock_guard lock(mutex());
    if (over_ || waiting_.size() >= 2 * backlog_) return;  // reset
  }
  std::shared_ptr<SharedStream> stream =
      SharedStream::Adopt(handle_, thread_, std::move(connection));
  const std::lock_guard lock(mutex());
  waiting_.push_back(std::move(stream));
  if (waiting_.size() >= backlog_ && !std::exchange(paused_, true)) listener_->SetPaused(true);
  SetReady(kReadable);
}

absl::StatusOr<std::shared_ptr<SharedStream>> SharedListener::Accept() {
  std::shared_ptr<SharedStream> stream;
  bool resume = false;
  {
    const std::lock_guard lock(mutex());
    if (over_) return absl::CancelledError("the listener is closed");
    if (waiting_.empty()) return nullptr;
    stream = std::move(waiting_.front());
    waiting_.pop_front();
    if (waiting_.empty()) SetReady(0);
    resume = waiting_.size() < backlog_ && std::exchange(paused_, false);
  }
  if (resume)
    if (const auto thread = handle_.lock())
      thread->Post([self = shared_from_this()](Stack&) {
        const std::lock_guard lock(self->mutex());
        if (self->listener_ != nullptr) self->listener_->SetPaused(self->paused_);
      });
  return stream;
}

void SharedListener::Close() {
  {
    const std::lock_guard lock(mutex());
    if (std::exchange(over_, true)) return;
    SetReady(kReadable | kOver);
  }
  if (const auto thread = handle_.lock())
    thread->Post([self = shared_from_this()](Stack&) { self->End(); });
}

void SharedListener::End() {
  std::deque<std::shared_ptr<SharedStream>> waiting;
  {
    const std::lock_guard lock(mutex());
    listener_.reset();
    waiting.swap(waiting_);
    over_ = true;
    SetReady(kReadable | kOver);
  }
  for (const auto& stream : waiting) stream->Abort();
  thread_.Dismiss(this);
}

void SharedListener::OnStackGone() { End(); }

}  // namespace im::netstack
