#include "orchestrator/splice.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/status.h"

namespace im::orchestrator {
namespace {

// Nobody reads or waits, but the client's end is noticed: epoll reports HUP
// and ERR of any descriptor that is watched for something.
constexpr uint32_t kOnlyTheEnd = EPOLLHUP;

std::array<uint8_t, kSpliceBytesMax>& Scratch() {
  static thread_local std::array<uint8_t, kSpliceBytesMax> scratch;
  return scratch;
}

// Forgets `n` bytes of the front, and the memory with the last of them.
void TakeFront(std::vector<uint8_t>& bytes, size_t n) {
  if (n == bytes.size()) {
    std::vector<uint8_t>().swap(bytes);
  } else {
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));
  }
}

}  // namespace

Splice::Splice(EventLoop& loop, FileDescriptor client, DoneFunction on_done)
    : client_(std::move(client)), on_done_(std::move(on_done)) {
  // What the program sends at once should leave at once; the stack below does
  // the collecting.
  const int on = 1;
  setsockopt(client_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  watch_ = loop.WatchFd(client_.get(), kOnlyTheEnd, [this](uint32_t e) { OnClientReady(e); });
}

Splice::~Splice() {
  watch_.Reset();
  if (!client_.valid()) return;
  // Not finished: the client must not take what it got for the whole.
  const linger reset = {.l_onoff = 1, .l_linger = 0};
  setsockopt(client_.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

void Splice::Start(netstack::Stack& stack, const Endpoint& target, OtherwiseFunction otherwise) {
  stack_ = &stack;
  otherwise_ = std::move(otherwise);
  Dial(target);
}

void Splice::Dial(const Endpoint& target) {
  auto inside = stack_->Dial({.remote = target}, this);
  if (!inside.ok()) {
    Fail(inside.status());
    return;
  }
  inside_ = std::move(*inside);
  inside_->SetNoDelay(true);
}

void Splice::OnConnected() {
  connected_ = true;
  if (PumpInward()) UpdateWatch();  // it has asked meanwhile, as a rule
}

void Splice::OnReadable() {
  if (PumpOutward()) UpdateWatch();
}

void Splice::OnWritable() {
  if (PumpInward()) UpdateWatch();
}

void Splice::OnReadClosed() {
  inside_eof_ = true;
  if (PumpOutward()) UpdateWatch();
}

void Splice::OnClosed(const absl::Status& status) {
  if (!connected_ && absl::IsFailedPrecondition(status) && otherwise_) {
    if (const auto other = std::exchange(otherwise_, nullptr)()) return Dial(*other);
  }
  if (!status.ok()) {
    Fail(status);
    return;
  }
  inside_closed_ = inside_eof_ = true;
  if (PumpOutward()) UpdateWatch();
}

void Splice::OnClientReady(uint32_t events) {
  // HUP without our own FIN: the client is gone for good, not half closed.
  if ((events & EPOLLERR) != 0 || ((events & EPOLLHUP) != 0 && !client_shut_)) {
    Finish(absl::OkStatus());
    return;
  }
  if ((events & EPOLLOUT) != 0 && !PumpOutward()) return;
  if ((events & EPOLLIN) != 0 && !PumpInward()) return;
  UpdateWatch();
}

bool Splice::PumpInward() {
  if (!connected_) return true;
  if (!inward_.empty()) {
    TakeFront(inward_, inside_->Write(inward_));
    if (!inward_.empty()) return true;  // OnWritable comes
  }
  if (client_eof_) {
    inside_->CloseWrite();
    return true;
  }
  const ssize_t n = recv(client_.get(), Scratch().data(), Scratch().size(), 0);
  if (n < 0) {
    if (errno == EAGAIN || errno == EINTR) return true;
    Finish(absl::OkStatus());  // the client reset it
    return false;
  }
  if (n == 0) {
    client_eof_ = true;
    inside_->CloseWrite();
    return true;
  }
  const std::span<const uint8_t> bytes(Scratch().data(), static_cast<size_t>(n));
  const size_t written = inside_->Write(bytes);
  inward_.assign(bytes.begin() + static_cast<ptrdiff_t>(written), bytes.end());
  return true;
}

bool Splice::PumpOutward() {
  for (;;) {
    if (outward_.empty()) {
      const size_t n = inside_->Read(Scratch());
      if (n == 0) break;
      const ssize_t sent = send(client_.get(), Scratch().data(), n, MSG_NOSIGNAL);
      if (sent == static_cast<ssize_t>(n)) continue;
      if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        Finish(absl::OkStatus());
        return false;
      }
      outward_.assign(Scratch().begin() + (sent < 0 ? 0 : sent),
                      Scratch().begin() + static_cast<ptrdiff_t>(n));
      return true;
    }
    const ssize_t sent = send(client_.get(), outward_.data(), outward_.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN || errno == EINTR) return true;
      Finish(absl::OkStatus());
      return false;
    }
    TakeFront(outward_, static_cast<size_t>(sent));
    if (!outward_.empty()) return true;
  }
  if (inside_eof_ && !std::exchange(client_shut_, true)) shutdown(client_.get(), SHUT_WR);
  if (!inside_closed_) return true;
  watch_.Reset();
  client_.Reset();  // both FINs were exchanged: an ordinary close
  Finish(absl::OkStatus());
  return false;
}

void Splice::UpdateWatch() {
  uint32_t events = 0;
  if (connected_ && !client_eof_ && inward_.empty()) events |= EPOLLIN;
  if (!outward_.empty()) events |= EPOLLOUT;
  // With both FINs HUP stays up, and there is nothing left to learn.
  if (events == 0 && !(client_eof_ && client_shut_)) events = kOnlyTheEnd;
  watch_.SetEvents(events);
}

void Splice::Fail(const absl::Status& status) { Finish(status); }

void Splice::Finish(const absl::Status& status) {
  watch_.Reset();
  if (inside_ != nullptr) inside_->Abort();
  const DoneFunction on_done = std::move(on_done_);
  if (on_done) on_done(this, status);
}

}  // namespace im::orchestrator
