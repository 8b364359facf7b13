#include "orchestrator/agent/intercept/tcp_socket.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "netstack/net_error.h"
#include "orchestrator/agent/intercept/program_process.h"
#include "orchestrator/agent/intercept/tcp_info.h"

namespace im::agent {
namespace {

// Arrivals beyond the backlog that are taken before the listener's pause works.
constexpr size_t kArrivalsSlack = 64;

}  // namespace

int MakeSocketPair(int type, FileDescriptor& our_end, FileDescriptor& program_end) {
  int fds[2];
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0)
    return errno == EMFILE ? ENFILE : errno;
  our_end = FileDescriptor(fds[0]);
  program_end = FileDescriptor(fds[1]);
  const int half = kPairBufferBytes / 2;
  for (const int fd : fds) setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &half, sizeof(half));
  return 0;
}

TcpSocket::TcpSocket(Context& context, int family, uint64_t inode, FileDescriptor end)
    : ProgramSocket(context, family, SOCK_STREAM, inode), end_(std::move(end)) {
  if (end_.valid()) WatchFresh();
}

TcpSocket::~TcpSocket() {
  if (state_ == State::kListening) context_.listeners().Leave(*this);
}

void TcpSocket::WatchFresh() {
  watch_ = context_.loop().WatchFd(end_.get(), EPOLLRDHUP | EPOLLET, [this](uint32_t events) {
    if ((events & EPOLLHUP) != 0) context_.Remove(*this);
  });
}

int TcpSocket::TakeError() { return std::exchange(error_, 0); }

// ---- connect ----

int TcpSocket::Renew(const PendingCall& call, int program_end, FileDescriptor& new_program_end) {
  FileDescriptor our_end;
  if (const int error = MakeSocketPair(SOCK_STREAM, our_end, new_program_end); error != 0)
    return error;
  if (IsNonBlocking(program_end) && !new_program_end.SetNonBlocking().ok()) return ENOBUFS;
  options_.ApplyToPair(new_program_end.get());
  const int number = call.int_arg(0);
  if (!call.ReplaceFd(new_program_end.get(), number, ClosesOnExec(call.thread(), number)))
    return ENOBUFS;
  end_ = std::move(our_end);
  state_ = State::kFresh;
  attempt_failed_ = failure_told_ = false;
  remote_.reset();
  if (!claimed_) local_.reset();
  WatchFresh();
  context_.Rename(*this, SocketInode(new_program_end.get()));
  return 0;
}

void TcpSocket::Connect(PendingCall call, int program_end, const ProgramAddress& to) {
  FileDescriptor new_program_end;
  if (state_ == State::kOver && attempt_failed_) {
    // As Linux has it: the next connect says what became of the last one.
    if (!std::exchange(failure_told_, true)) {
      call.Fail(error_ != 0 ? TakeError() : ECONNABORTED);
      return;
    }
    if (const int error = Renew(call, program_end, new_program_end); error != 0) {
      call.Fail(error);
      return;
    }
    program_end = new_program_end.get();
  }
  switch (state_) {
    case State::kFresh:
      break;
    case State::kConnecting:
      if (IsNonBlocking(program_end)) {
        call.Fail(EALREADY);
      } else {
        Wait(std::move(call), options_.send_timeout());
      }
      return;
    case State::kOver:
      call.Fail(error_ != 0 ? TakeError() : EISCONN);
      return;
    default:
      call.Fail(EISCONN);
      return;
  }
  if (to.unspecified) {
    call.Return(0);  // there is nothing to dissolve
    return;
  }
  Endpoint remote = to.endpoint;
  if (remote.address.is_multicast() ||
      (remote.address.is_v4() && family() == AF_INET6 && options_.v6_only())) {
    call.Fail(ENETUNREACH);
    return;
  }
  if (remote.address.is_unspecified()) remote.address = LoopbackAddress(remote.address.is_v4());
  if (remote.port == 0) {
    call.Fail(ECONNREFUSED);
  } else if (IsInside(remote.address)) {
    ConnectInside(std::move(call), remote);
  } else {
    ConnectOutside(std::move(call), program_end, remote);
  }
}

void TcpSocket::ConnectInside(PendingCall call, const Endpoint& to) {
  ListenerTable::Member* listener = context_.listeners().Find(to);
  if (listener != nullptr && listener->Gone()) {
    context_.RemoveClosed();
    listener = context_.listeners().Find(to);
  }
  if (listener == nullptr || !listener->TakesFromInside()) {
    call.Fail(ECONNREFUSED);
    return;
  }
  const IpAddress source = to.address.is_loopback() ? LoopbackAddress(to.address.is_v4())
                                                    : to.address;
  if (!local_.has_value()) {
    if (const int error = Claim({source, 0}); error != 0) {
      call.Fail(EADDRNOTAVAIL);
      return;
    }
  } else if (local_->address.is_unspecified()) {
    local_->address = source;
  }
  remote_ = to;
  state_ = State::kInside;
  watch_.Reset();
  Arrival arrival;
  arrival.end = std::move(end_);
  arrival.local = to;
  arrival.remote = *local_;
  call.Return(0);
  context_.OnDetached(*this);
  listener->OnArrival(std::move(arrival));
}

void TcpSocket::ConnectOutside(PendingCall call, int program_end, const Endpoint& to) {
  const bool blocking = !IsNonBlocking(program_end);
  // With a timeout the call may end before the attempt does.
  const bool waits = blocking && options_.send_timeout() == Duration::zero();
  const int error = waits ? TcpPump::PutSentinel(program_end) : TcpPump::PutFiller(program_end);
  if (error != 0) {
    call.Fail(ENOBUFS);
    return;
  }
  // With what the program wrote before: it was never connected, so it is lost.
  int stale = 0;
  ioctl(end_.get(), SIOCINQ, &stale);
  watch_.Reset();
  pump_ = std::make_unique<TcpPump>(context_.loop(), std::move(end_), stale, *this);
  netstack::DialOptions options;
  options.remote = to;
  if (local_.has_value()) {
    options.local = *local_;
    if (options.local->address.is_unspecified())
      options.local->address = to.address.is_v4() ? IpAddress::V4(0) : IpAddress();
  }
  options.timeout = options_.dial_timeout().value_or(options.timeout);
  auto connection = context_.stack().Dial(options, pump_.get());
  if (!connection.ok()) {
    end_ = pump_->TakeEnd();
    pump_.reset();
    WatchFresh();
    const int failed = netstack::NetErrno(connection.status());
    call.Fail(failed == EHOSTUNREACH ? ENETUNREACH : failed);
    return;
  }
  state_ = State::kConnecting;
  remote_ = to;
  local_ = Endpoint{(*connection)->local().address, (*connection)->local().port};
  pump_->SetConnection(*std::move(connection), /*connected=*/false);
  ApplyOptions();
  if (blocking) {
    Wait(std::move(call), options_.send_timeout());
  } else {
    call.Fail(EINPROGRESS);
  }
}

void TcpSocket::OnPumpConnected() {
  state_ = State::kConnected;
  for (Waiting& waiting : waiting_) waiting.call.Return(0);
  waiting_.clear();
}

void TcpSocket::OnPumpEnd(int error, bool program_closed) {
  const bool failed = state_ == State::kConnecting;
  state_ = State::kOver;
  error_ = error;
  if (failed && !program_closed && !waiting_.empty()) {
    // A blocking connect says it; the socket can be used again.
    end_ = pump_->TakeEnd();
    pump_.reset();
    state_ = State::kFresh;
    error_ = 0;
    remote_.reset();
    if (!claimed_) local_.reset();
    WatchFresh();
    for (Waiting& waiting : waiting_) waiting.call.Fail(error);
    waiting_.clear();
    return;
  }
  attempt_failed_ = failed;
  // What is unread in our end (tcp_pump.h) makes the program's say POLLERR.
  pump_.reset();
  if (program_closed) {
    context_.Remove(*this);
  } else {
    context_.OnDetached(*this);
  }
}

// ---- listen and accept ----

void TcpSocket::Listen(PendingCall call, int backlog) {
  if (state_ != State::kFresh && state_ != State::kListening) {
    call.Fail(EINVAL);
    return;
  }
  backlog_ = std::clamp(backlog, 1, kBacklogMax);
  if (state_ == State::kListening) {
    context_.listeners().OnFullChanged(*this);
    call.Return(0);
    return;
  }
  int error = local_.has_value() ? 0 : Claim({AnyAddress(family()), 0});
  if (error == 0) error = context_.ports(SOCK_STREAM).Listen(this, *local_);
  if (error == 0) {
    error = context_.listeners().Join(*local_, options_.v6_only(), OutsideOf(*local_), *this);
    if (error != 0) context_.ports(SOCK_STREAM).StopListening(this, *local_);
  }
  if (error != 0) {
    call.Fail(error);
    return;
  }
  state_ = State::kListening;
  call.Return(0);
  context_.OnOpened(SOCK_STREAM, local_->port);
}

void TcpSocket::StopListening() {
  context_.listeners().Leave(*this);
  context_.ports(SOCK_STREAM).StopListening(this, *local_);
  state_ = State::kFresh;
  arrivals_.clear();
  for (Waiting& waiting : waiting_) waiting.call.Fail(EINVAL);
  waiting_.clear();
}

void TcpSocket::OnArrival(Arrival arrival) {
  while (!waiting_.empty()) {
    Waiting waiting = std::move(waiting_.front());
    waiting_.pop_front();
    if (Deliver(waiting.call, arrival)) return;
  }
  const size_t limit =
      arrival.end.valid() ? kBacklogMax : static_cast<size_t>(backlog_) + kArrivalsSlack;
  if (arrivals_.size() >= limit) return;  // is reset
  arrivals_.push_back(std::move(arrival));
  PutMark();
  if (Full()) context_.listeners().OnFullChanged(*this);
}

// The listener is readable as long as somebody has arrived.
void TcpSocket::PutMark() {
  if (marks_ < kMarksMax && send(end_.get(), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) ++marks_;
}

void TcpSocket::TakeMark(int program_end) {
  char mark;
  if (arrivals_.size() <= marks_ && recv(program_end, &mark, 1, MSG_DONTWAIT) == 1) --marks_;
}

void TcpSocket::Accept(PendingCall call, int program_end) {
  if (state_ != State::kListening) {
    call.Fail(EINVAL);
    return;
  }
  if (arrivals_.empty()) {
    if (IsNonBlocking(program_end)) {
      call.Fail(EAGAIN);
    } else {
      Wait(std::move(call), options_.receive_timeout());
    }
    return;
  }
  const bool was_full = Full();
  // Before the program hears of it, or its next poll would see the mark and its
  // next accept wait.
  TakeMark(program_end);
  if (!Deliver(call, arrivals_.front())) {
    PutMark();
    return;
  }
  arrivals_.pop_front();
  if (was_full && !Full()) context_.listeners().OnFullChanged(*this);
}

bool TcpSocket::Deliver(PendingCall& call, Arrival& arrival) {
  const int flags = call.number() == SYS_accept4 ? call.int_arg(3) : 0;
  if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0) {
    call.Fail(EINVAL);
    return false;
  }
  FileDescriptor our_end, program_end;
  int error = 0;
  if (arrival.end.valid()) {
    program_end = std::move(arrival.end);
  } else {
    error = MakeSocketPair(SOCK_STREAM, our_end, program_end);
    if (error == 0) error = TcpPump::PutSentinel(program_end.get());
  }
  if (error == 0 && (flags & SOCK_NONBLOCK) != 0)
    error = program_end.SetNonBlocking().ok() ? 0 : EINVAL;
  if (error == 0 && call.arg(1) != 0)
    error = WriteAddress(call, call.arg(1), call.arg(2), arrival.remote, family());
  const bool handed_over =
      error == 0 && call.ReturnFd(program_end.get(), (flags & SOCK_CLOEXEC) != 0);
  if (!handed_over) {
    if (!our_end.valid()) arrival.end = std::move(program_end);
    if (error != 0) call.Fail(error);
    return false;
  }
  auto socket = std::make_unique<TcpSocket>(context_, family(), SocketInode(program_end.get()),
                                            FileDescriptor());
  TcpSocket& accepted = *socket;
  accepted.options_ = options_;
  accepted.local_ = arrival.local;
  accepted.remote_ = arrival.remote;
  if (context_.Add(std::move(socket)) != 0) return true;  // it is closed at once
  if (our_end.valid()) {
    accepted.state_ = State::kConnected;
    accepted.pump_ =
        std::make_unique<TcpPump>(context_.loop(), std::move(our_end), /*stale=*/1, accepted);
    accepted.pump_->SetConnection(std::move(arrival.connection), /*connected=*/true);
    accepted.ApplyOptions();
  } else {
    accepted.state_ = State::kInside;
    context_.OnDetached(accepted);
  }
  return true;
}

// ---- calls that wait ----

void TcpSocket::Wait(PendingCall call, Duration timeout) {
  const Instant now = context_.loop().now();
  waiting_.push_back({std::move(call), timeout == Duration::zero() ? kNever : now + timeout});
  context_.OnWaiting(*this);
}

bool TcpSocket::LookAtWaiting(Instant now) {
  std::erase_if(waiting_, [&](Waiting& waiting) {
    if (EndIfInterrupted(waiting.call)) return true;
    if (now < waiting.until) return false;
    waiting.call.Fail(state_ == State::kListening ? EAGAIN : EINPROGRESS);
    return true;
  });
  return !waiting_.empty();
}

// ---- the rest ----

void TcpSocket::Shutdown(PendingCall call) {
  const int how = call.int_arg(1);
  if (how < SHUT_RD || how > SHUT_RDWR) {
    call.Fail(EINVAL);
  } else if (state_ == State::kListening && how != SHUT_WR) {
    StopListening();
    PutMark();  // whoever polls looks at it
    call.Return(0);
  } else if (Unconnected() || state_ == State::kConnecting) {
    call.Fail(ENOTCONN);
  } else {
    call.Continue();  // of the pair, with the same meaning
  }
}

void TcpSocket::Send(PendingCall call, int) {
  if (Unconnected()) {
    call.Fail(EPIPE);
  } else if (call.number() == SYS_sendto) {
    call.Fail(EISCONN);  // with an address; the pair would say the same
  } else {
    call.Continue();
  }
}

void TcpSocket::Receive(PendingCall call, int) {
  if (Unconnected()) {
    call.Fail(ENOTCONN);
  } else {
    call.Continue();  // streams give no address
  }
}

void TcpSocket::GetPeer(PendingCall call) {
  if (!remote_.has_value() || state_ == State::kConnecting || state_ == State::kOver) {
    call.Fail(ENOTCONN);
    return;
  }
  const int error = WriteAddress(call, call.arg(1), call.arg(2), *remote_, family());
  error == 0 ? call.Return(0) : call.Fail(error);
}

void TcpSocket::ApplyOptions() {
  if (pump_ == nullptr) return;
  pump_->connection().SetNoDelay(options_.no_delay());
  pump_->connection().SetKeepAlive(options_.keep_alive());
  pump_->SetUserTimeout(options_.user_timeout());
}

std::optional<std::vector<uint8_t>> TcpSocket::StateOption(int level, int name) {
  const auto bytes = [](const auto& value) {
    const auto* p = reinterpret_cast<const uint8_t*>(&value);
    return std::vector<uint8_t>(p, p + sizeof(value));
  };
  if (level == SOL_SOCKET && name == SO_ERROR) return bytes(TakeError());
  if (level == SOL_SOCKET && name == SO_ACCEPTCONN)
    return bytes(state_ == State::kListening ? 1 : 0);
  if (level != IPPROTO_TCP || name != TCP_INFO) return std::nullopt;
  TcpInfoSource info;
  switch (state_) {
    case State::kConnected:
      info.state = pump_->read_closed()    ? TcpInfoState::kCloseWait
                   : pump_->program_shut() ? TcpInfoState::kFinWait2
                                           : TcpInfoState::kEstablished;
      break;
    case State::kInside:
      info.state = TcpInfoState::kEstablished;
      break;
    case State::kConnecting:
      info.state = TcpInfoState::kSynSent;
      break;
    case State::kListening:
      info.state = TcpInfoState::kListen;
      info.waiting = static_cast<uint32_t>(arrivals_.size());
      info.backlog = static_cast<uint32_t>(backlog_);
      break;
    default:
      info.state = TcpInfoState::kClose;
  }
  if (pump_ != nullptr) {
    info.figures = pump_->connection().figures();
    info.written_bytes = pump_->written_bytes();
    info.received_bytes = pump_->received_bytes();
  }
  return MakeTcpInfo(info);
}

}  // namespace im::agent
