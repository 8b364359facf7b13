#include "netstack/tcp_connection.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "lwip/priv/tcp_priv.h"
#include "netstack/address.h"
#include "netstack/dial.h"
#include "netstack/tcp_recovery.h"
#include "netstack/tcp_segments.h"

namespace im::netstack {
namespace {

// Segments that a new connection sends at once (RFC 6928).
constexpr uint32_t kInitialWindowSegments = 10;

// Part of the send buffer that is free when a waiting writer is called, so that
// it writes in large pieces and the buffer does not run empty.
constexpr size_t kWritablePart = 4;

// What a program writes in one turn leaves at its end, in segments as large as
// can be; so many of these do not wait for it.
constexpr uint32_t kWriteAheadSegments = 4;

// lwIP would send what is unsent on every coarse tick; it never has to.
constexpr u8_t kPollIntervalMax = 255;

// lwIP cuts segments of at most half the largest window that was offered, but
// full ones while that is 0, and asserts when the half then comes out smaller.
// With a floor the size never shrinks; what does not fit a window is split.
void RaiseLargestWindow(tcp_pcb& pcb) {
  pcb.snd_wnd_max = std::max<tcpwnd_size_t>(pcb.snd_wnd_max, 2 * kLeastMss);
}

}  // namespace

// ---- making and ending ----

TcpConnectionImpl::TcpConnectionImpl(Core* core, tcp_pcb* pcb) : Member(core), pcb_(pcb) {
  ++core->connections;
  tcp_arg(pcb, this);
  tcp_recv(pcb, OnReceived);
  tcp_sent(pcb, OnSent);
  tcp_err(pcb, OnError);
  tcp_poll(pcb, nullptr, kPollIntervalMax);
}

absl::StatusOr<std::unique_ptr<TcpConnectionImpl>> TcpConnectionImpl::Dial(
    Core& core, const DialOptions& options, Handler* handler) {
  if (absl::Status status = ValidateDial(options); !status.ok()) return status;
  if (core.connections >= kTcpConnectionsMax)
    return absl::ResourceExhaustedError(absl::StrCat("connect to ", options.remote.ToString(),
                                                     ": ", core.connections,
                                                     " connections are open"));
  if (!core.HasFamily(options.remote.address.is_v4()))
    return ConnectError(ERR_RTE, options.remote);
  core.Enter();
  const ip_addr_t remote = ToLwip(options.remote.address);
  tcp_pcb* pcb = tcp_new_ip_type(IP_GET_TYPE(&remote));
  if (pcb == nullptr) return ConnectError(ERR_MEM, options.remote);
  std::unique_ptr<TcpConnectionImpl> connection(new TcpConnectionImpl(&core, pcb));

  err_t error = BindForDial(core, pcb, options);
  if (error == ERR_BUF) {
    // All ports are taken: those of TIME_WAIT can be spared.
    TrimTimeWait(0);
    error = BindForDial(core, pcb, options);
  }
  if (error == ERR_OK) error = tcp_connect(pcb, &remote, options.remote.port, OnConnectedPcb);
  if (error == ERR_OK && !core.pcbs().Add(pcb)) error = ERR_USE;
  if (error != ERR_OK) return ConnectError(error, options.remote);  // ~TcpConnectionImpl frees
  // As accepted ones have it, so that a server may listen on the port.
  ip_set_option(pcb, SOF_REUSEADDR);
  connection->handler_ = handler;
  connection->NoteEndpoints();
  connection->syn_timer_ = std::make_unique<SynTimer>(
      core, pcb, options.timeout, [self = connection.get()] { self->OnDialTimeout(); });
  return connection;
}

std::unique_ptr<TcpConnectionImpl> TcpConnectionImpl::Accept(Core& core, tcp_pcb* pcb) {
  std::unique_ptr<TcpConnectionImpl> connection(new TcpConnectionImpl(&core, pcb));
  RaiseLargestWindow(*pcb);
  TcpRecovery::Attach(core, pcb);
  connection->OpenWindow();
  connection->connected_ = true;
  connection->NoteEndpoints();
  connection->Defer();  // for OnEstablished
  return connection;
}

TcpConnectionImpl::~TcpConnectionImpl() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  if (core() == nullptr) return;
  --core()->connections;
  ForgetWindow();
  if (pcb_ == nullptr) return;
  // Closed by the program, with nothing left unread: lwIP delivers what was
  // written, then FIN, and gives up after FIN_WAIT's timeout.
  if (write_closed_ && fin_sent_ && received_.size() == 0) {
    core()->Enter(*pcb_);
    pcb_->rcv_wnd = TCP_WND_MAX(pcb_);  // by which lwIP tells that all was read
    tcp_close(Detach());
    return;
  }
  Abort();
}

void TcpConnectionImpl::OnStackGone() {
  if (pcb_ != nullptr) tcp_abort(Detach());
  events_ = 0;
  syn_timer_.reset();
}

TcpConnectionImpl* TcpConnectionImpl::Of(const tcp_pcb* pcb) {
  return pcb->recv == OnReceived ? static_cast<TcpConnectionImpl*>(pcb->callback_arg) : nullptr;
}

void TcpConnectionImpl::NoteEndpoints() {
  local_ = {FromLwip(pcb_->local_ip), pcb_->local_port};
  remote_ = {FromLwip(pcb_->remote_ip), pcb_->remote_port};
}

tcp_pcb* TcpConnectionImpl::Detach() {
  keep_alive_.reset();
  tcp_pcb* pcb = std::exchange(pcb_, nullptr);
  CountQueued();
  tcp_arg(pcb, nullptr);
  tcp_recv(pcb, nullptr);
  tcp_sent(pcb, nullptr);
  tcp_err(pcb, nullptr);
  return pcb;
}

void TcpConnectionImpl::Abort() {
  if (core() == nullptr) return;
  events_ = 0;
  handler_ = nullptr;
  received_.Clear();
  syn_timer_.reset();
  if (pcb_ == nullptr) return;
  core()->Enter(*pcb_);
  tcp_pcb* pcb = Detach();
  // An attempt is given up without a word: a RST could wake the host. Should
  // its answer come yet, it is reset.
  if (pcb->state == SYN_SENT) {
    tcp_close(pcb);
  } else {
    tcp_abort(pcb);
  }
}

// ---- dialling ----

void TcpConnectionImpl::OnDialTimeout() {
  core()->Enter(*pcb_);
  tcp_close(Detach());
  Close(absl::DeadlineExceededError("connection timed out"));
}

void TcpConnectionImpl::OnPeerGone() {
  core()->Enter(*pcb_);
  tcp_abort(Detach());
  Close(absl::DeadlineExceededError("connection timed out"));
}

void TcpConnectionImpl::OnEstablished() {
  established_seen_ = true;
  if (pcb_ == nullptr) return;
  pcb_->cwnd = std::max<tcpwnd_size_t>(pcb_->cwnd, kInitialWindowSegments * pcb_->mss);
}

err_t TcpConnectionImpl::OnConnectedPcb(void* self, tcp_pcb* pcb, err_t) {
  auto* connection = static_cast<TcpConnectionImpl*>(self);
  connection->connected_ = true;
  connection->syn_timer_.reset();
  SynTimer::HandBack(pcb);
  RaiseLargestWindow(*pcb);
  TcpRecovery::Attach(*connection->core(), pcb);
  connection->OpenWindow();
  connection->Note(kConnected);
  return ERR_OK;
}

void TcpConnectionImpl::OnUnreachable(Core& core, const Unreachable& unreachable) {
  const FlowKey& flow = unreachable.flow;
  if (flow.protocol != kProtocolTcp) return;
  tcp_pcb* pcb = core.pcbs().Find(flow.Reversed());
  TcpConnectionImpl* connection = pcb == nullptr ? nullptr : Of(pcb);
  // RFC 5461 2: of an established connection it says nothing lasting. The
  // sequence number must be that of our SYN (RFC 5927 4.1).
  if (connection == nullptr || pcb->state != SYN_SENT || unreachable.tcp_sequence != pcb->lastack)
    return;
  core.Enter(*pcb);
  tcp_close(connection->Detach());
  connection->Close(unreachable.port ? absl::FailedPreconditionError("connection refused")
                                     : absl::UnavailableError("host unreachable"));
}

// ---- what lwIP tells ----

err_t TcpConnectionImpl::OnReceived(void* self, tcp_pcb* pcb, pbuf* data, err_t) {
  auto* connection = static_cast<TcpConnectionImpl*>(self);
  if (data != nullptr) {
    connection->received_.Push(data);
    connection->Note(kReadable);
    return ERR_OK;
  }
  connection->read_closed_ = true;
  connection->Note(kReadClosed);
  // Closed from both sides; what is left of it is lwIP's.
  if (pcb->state == TIME_WAIT) {
    connection->Detach();
    connection->Close(absl::OkStatus());
  }
  return ERR_OK;
}

err_t TcpConnectionImpl::OnSent(void* self, tcp_pcb* pcb, u16_t) {
  auto* connection = static_cast<TcpConnectionImpl*>(self);
  connection->CountQueued();
  if (connection->want_writable_ &&
      (connection->WritableBytes() >= connection->SendBufferBytes() / kWritablePart ||
       pcb->snd_queuelen == 0))
    connection->Note(kWritable);
  return ERR_OK;
}

void TcpConnectionImpl::OnError(void* self, err_t error) {
  auto* connection = static_cast<TcpConnectionImpl*>(self);
  connection->pcb_ = nullptr;  // freed
  connection->CountQueued();
  connection->keep_alive_.reset();
  if (error == ERR_CLSD) {
    connection->Close(absl::OkStatus());
  } else if (error == ERR_RST) {
    connection->Close(connection->connected_
                          ? absl::AbortedError("connection reset")
                          : absl::FailedPreconditionError("connection refused"));
  } else if (connection->core()->removing_interface) {
    connection->Close(absl::UnavailableError("host unreachable"));
  } else {
    connection->Close(absl::DeadlineExceededError("connection timed out"));
  }
}

void TcpConnectionImpl::OnSegment(tcp_pcb* pcb) {
  TcpConnectionImpl* connection = Of(pcb);
  // CLOSING goes to TIME_WAIT without a callback: it is looked at afterwards.
  if (connection != nullptr && pcb->state == CLOSING) connection->Defer();
}

void TcpConnectionImpl::Close(const absl::Status& status) {
  syn_timer_.reset();
  status_ = status;
  Note(kClosed);
}

void TcpConnectionImpl::Note(uint8_t events) {
  events_ |= events;
  Defer();
}

// ---- what the handler is told ----

void TcpConnectionImpl::SetHandler(Handler* handler) {
  handler_ = handler;
  if (received_.size() > 0) events_ |= kReadable;
  if (handler != nullptr && events_ != 0) Defer();
}

void TcpConnectionImpl::RunDeferred() {
  if (connected_ && !established_seen_) OnEstablished();
  if (pcb_ != nullptr && read_closed_ && fin_sent_ && pcb_->state == TIME_WAIT) {
    Detach();
    Close(absl::OkStatus());
  }
  if (handler_ != nullptr && !TellHandler()) return;
  if (pcb_ != nullptr && connected_ && write_closed_ && !fin_sent_) SendFin();
  if (pcb_ != nullptr && std::exchange(output_waits_, false)) {
    core()->Enter(*pcb_);
    Output(*pcb_);
  }
}

bool TcpConnectionImpl::TellHandler() {
  bool destroyed = false;
  destroyed_ = &destroyed;
  // SetHandler and Abort may be called by the handler, so all is read anew.
  for (const Event event : {kConnected, kReadable, kReadClosed, kWritable, kClosed}) {
    if ((events_ & event) == 0 || handler_ == nullptr) continue;
    events_ &= ~event;
    switch (event) {
      case kConnected:
        handler_->OnConnected();
        // A write before it was connected took nothing.
        if (!destroyed && want_writable_) events_ |= kWritable;
        break;
      case kReadable:
        if (received_.size() > 0) handler_->OnReadable();
        break;
      case kReadClosed:
        handler_->OnReadClosed();
        break;
      case kWritable:
        if (pcb_ == nullptr || write_closed_) break;
        want_writable_ = false;
        handler_->OnWritable();
        break;
      case kClosed:
        handler_->OnClosed(absl::Status(status_));
        break;
    }
    if (destroyed) return false;
  }
  destroyed_ = nullptr;
  return true;
}

// ---- what the program does ----

size_t TcpConnectionImpl::WritableBytes() const {
  if (pcb_ == nullptr || !connected_ || write_closed_) return 0;
  if (pcb_->snd_queuelen >= TCP_SND_QUEUELEN) return 0;
  const size_t queued = TCP_SND_BUF - pcb_->snd_buf;
  const size_t limit = SendBufferBytes();
  return queued < limit ? limit - queued : 0;
}

size_t TcpConnectionImpl::SendBufferBytes() const {
  const size_t all = core()->queued_bytes;
  const size_t least = all < kQueuedBytesMuch ? kSendBufferFirstBytes : kSendBufferLeastBytes;
  const TcpRecovery* recovery = TcpRecovery::Of(*pcb_);
  if (recovery == nullptr || all >= kQueuedBytesMax) return least;
  const LossRecovery& path = recovery->recovery();
  if (!path.smoothed_rtt().has_value()) return least;
  // What is under way while packets wait in queues of our own is no need.
  const double part = std::min(
      1.0, std::chrono::duration<double>(path.rtt_min()) /
               std::chrono::duration<double>(*path.smoothed_rtt()));
  const double trip = part * std::min(pcb_->cwnd, pcb_->snd_wnd);
  return std::clamp(static_cast<size_t>(kSendBufferTrips * trip), least, size_t{TCP_SND_BUF});
}

void TcpConnectionImpl::CountQueued() {
  if (core() == nullptr) return;
  core()->queued_bytes -= queued_bytes_;
  queued_bytes_ = pcb_ == nullptr ? 0 : TCP_SND_BUF - pcb_->snd_buf;
  core()->queued_bytes += queued_bytes_;
}

size_t TcpConnectionImpl::Write(std::span<const uint8_t> bytes) {
  if (pcb_ == nullptr || write_closed_ || bytes.empty()) return 0;
  // Before the peer has told its segment size nothing can be cut right.
  const size_t room = std::min(bytes.size(), WritableBytes());
  if (room > 0) core()->Enter(*pcb_);
  const size_t done = Queue(bytes.first(room), /*more=*/room < bytes.size());
  if (done < bytes.size()) want_writable_ = true;
  if (done == 0) return 0;
  CountQueued();
  const uint32_t unsent = pcb_->snd_lbb - pcb_->snd_nxt;
  output_waits_ = unsent < kWriteAheadSegments * SegmentBytes(*pcb_);
  if (output_waits_) {
    Defer();
  } else {
    Output(*pcb_);
    core()->FlushIfMuch();  // all that the program has may be written in one turn
  }
  return done;
}

size_t TcpConnectionImpl::Queue(std::span<const uint8_t> bytes, bool more) {
  std::optional<LargeSegments> large;
  if (TcpRecovery::Of(*pcb_) != nullptr) large.emplace(*pcb_);
  size_t done = 0;
  for (size_t piece = 0xffff; done < bytes.size() && piece > 0;) {
    const auto n = static_cast<u16_t>(std::min(bytes.size() - done, piece));
    const u8_t flag = more || done + n < bytes.size() ? TCP_WRITE_FLAG_MORE : 0;
    if (tcp_write(pcb_, bytes.data() + done, n, TCP_WRITE_FLAG_COPY | flag) == ERR_OK) {
      done += n;
    } else {
      piece = n / 2;  // the queue is too long for so many segments
    }
  }
  return done;
}

size_t TcpConnectionImpl::Read(std::span<uint8_t> buffer) {
  const size_t n = received_.Pop(buffer);
  OfferWindow(n);
  return n;
}

void TcpConnectionImpl::Drop(size_t bytes) {
  const size_t n = std::min(bytes, received_.size());
  received_.Drop(n);
  OfferWindow(n);
}

void TcpConnectionImpl::OpenWindow() {
  if ((pcb_->flags & TF_WND_SCALE) == 0) return;
  window_.emplace(core()->loop().now());
  // lwIP has just opened it as far as can be, and told nobody yet.
  pcb_->rcv_wnd = pcb_->rcv_ann_wnd = window_->bytes();
  pcb_->rcv_ann_right_edge = pcb_->rcv_nxt + window_->bytes();
}

void TcpConnectionImpl::ForgetWindow() {
  if (window_.has_value()) core()->windows_grown_bytes -= window_->bytes() - kReceiveWindowFirst;
  window_.reset();
}

void TcpConnectionImpl::OfferWindow(size_t read) {
  if (read == 0 || pcb_ == nullptr || read_closed_) return;
  core()->Enter(*pcb_);
  uint32_t more = 0;
  if (window_.has_value()) {
    more = window_->OnRead(static_cast<uint32_t>(read),
                           kReceiveWindowsGrownMax - core()->windows_grown_bytes,
                           core()->loop().now());
    core()->windows_grown_bytes += more;
  }
  pcb_->rcv_wnd += more;
  for (size_t left = read; left > 0;) {
    const auto part = static_cast<u16_t>(std::min<size_t>(left, 0xffff));
    tcp_recved(pcb_, part);
    left -= part;
  }
}

void TcpConnectionImpl::CloseWrite() {
  if (std::exchange(write_closed_, true) || pcb_ == nullptr) return;
  if (connected_) SendFin();
}

void TcpConnectionImpl::SendFin() {
  core()->Enter(*pcb_);
  fin_sent_ = true;
  output_waits_ = false;
  // Without memory lwIP notes it and tries again by itself.
  tcp_shutdown(pcb_, 0, 1);
  if (pcb_ != nullptr) Output(*pcb_);
}

void TcpConnectionImpl::SetNoDelay(bool on) {
  if (pcb_ == nullptr) return;
  if (on) {
    tcp_nagle_disable(pcb_);
  } else {
    tcp_nagle_enable(pcb_);
  }
}

void TcpConnectionImpl::SetKeepAlive(const std::optional<KeepAlive>& keep_alive) {
  keep_alive_.reset();
  if (pcb_ != nullptr && keep_alive.has_value())
    keep_alive_ = std::make_unique<KeepAliveTimer>(*core(), pcb_, *keep_alive,
                                                   [this] { OnPeerGone(); });
}

}  // namespace im::netstack
