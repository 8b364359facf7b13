#include "orchestrator/agent/intercept/tcp_pump.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "base/check.h"
#include "netstack/net_error.h"
#include "orchestrator/agent/intercept/program_socket.h"

namespace im::agent {
namespace {

// Bytes moved at a time; also what one connection may keep here at most.
constexpr size_t kPieceBytes = 64 << 10;

// One thread owns the data plane, so one buffer serves all.
std::array<uint8_t, kPieceBytes>& PieceScratch() {
  static std::array<uint8_t, kPieceBytes> scratch;
  return scratch;
}

size_t UnreadBytes(int fd) {
  int n = 0;
  return ioctl(fd, SIOCINQ, &n) == 0 && n > 0 ? static_cast<size_t>(n) : 0;
}

int Send(int fd, size_t n) {
  const ssize_t sent = send(fd, PieceScratch().data(), n, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent == static_cast<ssize_t>(n) ? 0 : sent < 0 ? errno : ENOBUFS;
}

}  // namespace

int TcpPump::PutSentinel(int program_end) { return Send(program_end, 1); }

int TcpPump::PutFiller(int program_end) {
  // A socket is writable while a quarter of its buffer is in use at most. The
  // last byte, which stays, is one of its own, so that it holds no page.
  const size_t n = kPairBufferBytes / 4;
  static_assert(n <= kPieceBytes);
  if (const int error = Send(program_end, n); error != 0) return error;
  return Send(program_end, 1);
}

TcpPump::TcpPump(EventLoop& loop, FileDescriptor end, int stale, Delegate& delegate)
    : loop_(loop), end_(std::move(end)), stale_(stale), delegate_(delegate) {}

void TcpPump::SetConnection(std::unique_ptr<netstack::TcpConnection> connection, bool connected) {
  connection_ = std::move(connection);
  connected_ = connected;
  // From now on, for ever: the edges tell what is new.
  watch_ = loop_.WatchFd(end_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                         [this](uint32_t events) { OnEvents(events); });
  connection_->SetHandler(this);
}

FileDescriptor TcpPump::TakeEnd() {
  watch_.Reset();
  DropStale(0);
  return std::move(end_);
}

void TcpPump::Kick() { OnEvents(0); }

void TcpPump::SetUserTimeout(Duration timeout) {
  if (timeout == std::exchange(user_timeout_after_, timeout)) return;
  user_timeout_.reset();
  if (timeout == Duration::zero()) return;
  const auto look = [this]() -> UserTimeout::Progress {
    const size_t queued = connection_->figures().queued_bytes;
    return {.acknowledged = written_ - queued, .pending = queued > 0};
  };
  user_timeout_.emplace(loop_, timeout, look, [this] {
    connection_->Abort();
    End(ETIMEDOUT, /*reset=*/true, program_closed_);
  });
  if (connected_ && look().pending) user_timeout_->OnWritten();
}

void TcpPump::DropStale(int keep) {
  while (stale_ > keep) {
    const size_t n = std::min<size_t>(static_cast<size_t>(stale_ - keep), kPieceBytes);
    const ssize_t taken = recv(end_.get(), PieceScratch().data(), n, MSG_DONTWAIT);
    if (taken <= 0) return;
    stale_ -= static_cast<int>(taken);
  }
}

void TcpPump::OnEvents(uint32_t events) {
  if ((events & EPOLLRDHUP) != 0) program_shut_ = true;
  if ((events & EPOLLHUP) != 0) program_closed_ = true;
  if (program_closed_ &&
      ((events & EPOLLERR) != 0 || !connected_ || kept_from_ < kept_.size() ||
       delegate_.ResetOnClose())) {
    Reset();
    return;
  }
  if (!connected_) return;
  if (ToProgram() && FromProgram() && program_closed_) LimitRest();
}

void TcpPump::LimitRest() {
  if (user_timeout_after_ == Duration::zero() || user_timeout_after_ > netstack::kAbandonedTimeout)
    SetUserTimeout(netstack::kAbandonedTimeout);
}

void TcpPump::Reset() {
  connection_->Abort();
  End(0, /*reset=*/false, /*program_closed=*/true);
}

// ---- program → network ----

void TcpPump::ToConnection(std::span<const uint8_t> bytes) {
  const size_t taken = unsent_.empty() ? connection_->Write(bytes) : 0;
  written_ += taken;
  if (taken > 0 && user_timeout_.has_value()) user_timeout_->OnWritten();
  // Less than it had room for only if its queue has no place for so many pieces.
  unsent_.insert(unsent_.end(), bytes.begin() + static_cast<ptrdiff_t>(taken), bytes.end());
}

bool TcpPump::Take(size_t n) {
  auto& scratch = PieceScratch();
  while (n > 0) {
    const auto stale = static_cast<size_t>(stale_);
    const size_t piece = std::min(n, kPieceBytes - stale);
    const bool last = piece == n;
    const size_t wanted = stale + piece - (last ? 1 : 0);
    size_t got = 0;
    if (wanted > 0) {
      const ssize_t taken = recv(end_.get(), scratch.data(), wanted, MSG_DONTWAIT);
      if (taken <= 0) return false;
      got = static_cast<size_t>(taken);
    }
    const size_t skip = std::min(stale, got);
    stale_ -= static_cast<int>(skip);
    size_t fresh = got - skip;
    if (last && got == wanted) {
      if (recv(end_.get(), &scratch[got], 1, MSG_DONTWAIT | MSG_PEEK) != 1) return false;
      ++fresh;
      stale_ = 1;
    }
    ToConnection(std::span(scratch).subspan(skip, fresh));
    n -= fresh;
    if (got < wanted) return true;  // cut short, as by descriptors that were sent along
  }
  return true;
}

bool TcpPump::FromProgram() {
  if (!connected_ || !end_.valid()) return true;
  for (;;) {
    if (!unsent_.empty()) {
      const size_t n = connection_->Write(unsent_);
      written_ += n;
      unsent_.erase(unsent_.begin(), unsent_.begin() + static_cast<ptrdiff_t>(n));
      if (!unsent_.empty()) return true;
    }
    const size_t unread = UnreadBytes(end_.get());
    const size_t fresh = unread - std::min(unread, static_cast<size_t>(stale_));
    if (fresh == 0) break;
    const size_t room = connection_->WritableBytes();
    if (room == 0) {
      // Takes nothing, but asks for OnWritable.
      connection_->Write(std::span(PieceScratch()).first(1));
      return true;
    }
    if (!Take(std::min(fresh, room))) break;
  }
  if (!program_shut_ && !program_closed_) return true;
  connection_->CloseWrite();
  if (!program_closed_) return true;
  // What the peer still sends is refused once the connection is ours no more.
  End(0, /*reset=*/false, /*program_closed=*/true);
  return false;
}

// ---- network → program ----

bool TcpPump::ToProgram() {
  if (!connected_ || !end_.valid()) return true;
  for (;;) {
    if (kept_from_ < kept_.size()) {
      const ssize_t sent = send(end_.get(), kept_.data() + kept_from_, kept_.size() - kept_from_,
                                MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) return true;
      if (sent < 0 && IsHungUp(end_.get())) {
        Reset();
        return false;
      }
      // SHUT_RD: Linux takes what comes and forgets it.
      kept_from_ += sent < 0 ? kept_.size() - kept_from_ : static_cast<size_t>(sent);
      if (kept_from_ < kept_.size()) return true;
      kept_ = {};
      kept_from_ = 0;
    }
    const size_t n = connection_->Read(PieceScratch());
    if (n == 0) break;
    received_ += n;
    const ssize_t sent = send(end_.get(), PieceScratch().data(), n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
      if (!IsHungUp(end_.get())) continue;
      Reset();
      return false;
    }
    const auto done = static_cast<size_t>(std::max<ssize_t>(sent, 0));
    if (done < n) kept_.assign(PieceScratch().begin() + static_cast<ptrdiff_t>(done),
                               PieceScratch().begin() + static_cast<ptrdiff_t>(n));
  }
  if (read_closed_ && !std::exchange(fin_told_, true)) shutdown(end_.get(), SHUT_WR);
  if (!over_) return true;
  End(0, /*reset=*/false, program_closed_);
  return false;
}

// ---- what the connection tells ----

void TcpPump::OnConnected() {
  connected_ = true;
  DropStale(1);
  delegate_.OnPumpConnected();
  OnEvents(0);
}

void TcpPump::OnReadClosed() {
  read_closed_ = true;
  ToProgram();
}

void TcpPump::OnClosed(const absl::Status& status) {
  if (status.ok()) {
    over_ = true;
    ToProgram();
    return;
  }
  // Linux lets what came before the reset be read, too.
  if (!ToProgram()) return;
  End(netstack::NetErrno(status), /*reset=*/true, program_closed_);
}

void TcpPump::End(int error, bool reset, bool program_closed) {
  watch_.Reset();
  if (!reset && end_.valid()) DropStale(0);
  // Who gets a reset may want the end for another attempt (TakeEnd).
  if (!reset) end_.Reset();
  delegate_.OnPumpEnd(error, program_closed);  // destroys *this
}

}  // namespace im::agent
