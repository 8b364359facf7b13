#include "tunnel/driver.h"

#include <sys/epoll.h>

#include <chrono>
#include <utility>

#include "base/check.h"
#include "tunnel/udp_socket.h"

namespace im::tunnel {
namespace {

// Receives of one turn. With trains of 64 KB these are 2 MB, some 200
// microseconds of work, after which the others (a TUN, timers) have their turn.
constexpr int kReceivesPerTurn = 4;

// Handshake messages of one turn, and what passes before the next are looked
// at: 60,000 a second, far more than can be answered, and a tenth of the time.
constexpr size_t kHandshakesPerPause = 64;
constexpr Duration kHandshakePause = std::chrono::milliseconds(1);

// Sealed bytes that are sent before the turn ends: later the first of them
// would have left the cache, and its receiver would idle meanwhile.
constexpr size_t kFlushBytes = 512 << 10;

}  // namespace

// Every call into the device is made by Use(), which then delivers what came
// out, asks for a flush and re-arms the timer. Calls nest: the device's
// delegate may configure other peers, and `inside` may write reply packets.
class Driver::Impl {
 public:
  Impl(const PrivateKey& key, const Options& options, EventLoop& loop, Random& random,
       PacketSink& inside, Device::Delegate* delegate)
      : options_(options),
        loop_(loop),
        inside_(inside),
        device_(key, options.device, loop.clock(), random, delegate) {}

  absl::Status Bind(const Endpoint& listen) {
    if (!up_) {
      local_ = listen;
      return absl::OkStatus();
    }
    UdpSocket::Options options;
    options.listen = listen;
    options.fwmark = options_.fwmark;
    options.buffer_bytes = options_.socket_buffer_bytes;
    IM_ASSIGN_OR_RETURN(std::unique_ptr<UdpSocket> socket, UdpSocket::Open(options, drops_));
    CountEarlierBytes();
    StopWatching();  // before its descriptors go
    socket_ = std::move(socket);
    local_ = socket_->local_endpoint();
    watch_ = loop_.WatchFd(socket_->fd(), EPOLLIN, [this](uint32_t events) { OnReady(events); });
    if (socket_->handshake_fd() >= 0) {
      handshake_watch_ = loop_.WatchFd(socket_->handshake_fd(), EPOLLIN,
                                       [this](uint32_t) { OnHandshakes(); });
    }
    if (std::exchange(waits_for_writable_, false) && blocked_callback_) blocked_callback_(false);
    return absl::OkStatus();
  }

  template <typename Function>
  auto Use(const Function& function) {
    struct Finish {
      explicit Finish(Impl& owner) : impl(owner) { ++impl.depth_; }
      ~Finish() {
        // Only when the device is left for good: it may be in the middle of
        // filling the outbox.
        if (--impl.depth_ == 0) impl.AfterDevice();
      }
      Impl& impl;
    } finish(*this);
    return function(device_, loop_.now(), outbox_);
  }

  absl::Status SetUp(bool up) {
    if (up == up_) return absl::OkStatus();
    up_ = up;
    if (up) {
      if (absl::Status status = Bind(local_); !status.ok()) {
        up_ = false;
        return status;
      }
    }
    Use([up](Device& device, Instant now, Outbox& out) { device.SetUp(up, now, out); });
    if (up) return absl::OkStatus();
    CountEarlierBytes();
    StopWatching();
    socket_.reset();
    Flush();  // forgets what was to be sent
    if (std::exchange(waits_for_writable_, false) && blocked_callback_) blocked_callback_(false);
    return absl::OkStatus();
  }

  bool up() const { return up_; }
  const Endpoint& local_endpoint() const { return local_; }
  Device& device() { return device_; }
  const Device& device() const { return device_; }
  const DropCounters& drops() const { return drops_; }
  uint32_t fwmark() const { return options_.fwmark; }
  uint64_t tx_bytes() const {
    return earlier_tx_bytes_ + (socket_ ? socket_->sent_bytes() : 0);
  }
  uint64_t rx_bytes() const {
    return earlier_rx_bytes_ + (socket_ ? socket_->received_bytes() : 0);
  }

  void SetBlockedCallback(std::function<void(bool)> callback) {
    blocked_callback_ = std::move(callback);
  }

  absl::Status SetFwmark(uint32_t fwmark) {
    if (socket_) IM_RETURN_IF_ERROR(socket_->SetFwmark(fwmark));
    options_.fwmark = fwmark;
    return absl::OkStatus();
  }

 private:
  void CountEarlierBytes() {
    if (socket_ == nullptr) return;
    earlier_tx_bytes_ += socket_->sent_bytes();
    earlier_rx_bytes_ += socket_->received_bytes();
  }

  void OnReady(uint32_t events) {
    if ((events & EPOLLOUT) != 0) {
      socket_->OnWritable();
      WatchWritable();
    }
    if ((events & ~uint32_t{EPOLLOUT}) == 0) return;
    bool more = true;
    for (int i = 0; i < kReceivesPerTurn && more && socket_->Receive(received_); ++i) {
      // Where fewer came, nothing is left: epoll says it if there is.
      more = received_.runs().size() == kMessagesPerReceive;
      Use([this](Device& device, Instant now, Outbox& out) {
        device.OnDatagrams(received_, now, out);
      });
      received_.Clear();
    }
  }

  // A flood of them is looked at for a small part of the time only; what does
  // not fit into the socket's buffer meanwhile is the kernel's to drop.
  void OnHandshakes() {
    size_t messages = 0;
    while (socket_->ReceiveHandshakes(received_)) {
      for (const DatagramRun& run : received_.runs()) {
        messages += run.bytes.size() / run.segment_size;
      }
      Use([this](Device& device, Instant now, Outbox& out) {
        device.OnDatagrams(received_, now, out);
      });
      received_.Clear();
      if (messages < kHandshakesPerPause) continue;
      handshake_watch_.SetEvents(0);
      handshake_timer_ = loop_.After(kHandshakePause, [this] { handshake_watch_.SetEvents(EPOLLIN); });
      return;
    }
  }

  void StopWatching() {
    watch_.Reset();
    handshake_watch_.Reset();
    handshake_timer_.Reset();
  }

  void AfterDevice() {
    Deliver();
    if (!outbox_.datagrams.empty()) ScheduleFlush();
    RearmTimer();
  }

  void Deliver() {
    // May come back here by way of Write; what it adds is delivered there.
    while (!outbox_.inside.empty()) {
      PacketBatch batch = std::move(outbox_.inside);
      outbox_.inside = PacketBatch();
      inside_.Write(std::move(batch));
    }
  }

  void ScheduleFlush() {
    const std::vector<DatagramRun>& runs = outbox_.datagrams.runs();
    for (; counted_runs_ < runs.size(); ++counted_runs_) {
      unflushed_bytes_ += runs[counted_runs_].bytes.size();
    }
    if (unflushed_bytes_ >= kFlushBytes) return Flush();
    if (flush_scheduled_) return;
    flush_scheduled_ = true;
    loop_.AtEndOfTurn([this, alive = std::weak_ptr<int>(alive_)] {
      if (alive.expired()) return;  // the driver went within this turn
      flush_scheduled_ = false;
      Flush();
    });
  }

  void Flush() {
    unflushed_bytes_ = counted_runs_ = 0;
    if (socket_ == nullptr) {
      drops_.Add(DropReason::kSendFailed, outbox_.datagrams.runs().size());
      outbox_.datagrams.Clear();
      return;
    }
    socket_->Send(outbox_.datagrams);
    WatchWritable();
    for (const uint64_t probe : socket_->TakeRefusedProbes()) {
      Use([probe](Device& device, Instant now, Outbox& out) {
        device.OnProbeRefused(probe, now, out);
      });
    }
  }

  void WatchWritable() {
    if (waits_for_writable_ == socket_->blocked()) return;
    waits_for_writable_ = socket_->blocked();
    watch_.SetEvents(waits_for_writable_ ? EPOLLIN | EPOLLOUT : EPOLLIN);
    if (blocked_callback_) blocked_callback_(waits_for_writable_);
  }

  // A timer that fires too early only looks again, so it is moved only when
  // the deadline came nearer: nothing to do for most packets.
  void RearmTimer() {
    const Instant deadline = device_.NextDeadline();
    if (deadline >= armed_for_) return;
    armed_for_ = deadline;
    timer_ = loop_.At(deadline, [this] { OnTimer(); });
  }

  void OnTimer() {
    armed_for_ = kNever;
    Use([](Device& device, Instant now, Outbox& out) {
      if (device.NextDeadline() <= now) device.OnTimer(now, out);
    });
  }

  Options options_;
  EventLoop& loop_;
  PacketSink& inside_;
  Device device_;
  DropCounters drops_;
  Outbox outbox_;
  DatagramBatch received_;
  int depth_ = 0;  // nested uses of the device
  size_t counted_runs_ = 0;
  size_t unflushed_bytes_ = 0;
  bool flush_scheduled_ = false;
  bool waits_for_writable_ = false;
  std::function<void(bool)> blocked_callback_;
  Instant armed_for_ = kNever;
  uint64_t earlier_tx_bytes_ = 0;  // by sockets before Rebind
  uint64_t earlier_rx_bytes_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  bool up_ = true;
  Endpoint local_;
  std::unique_ptr<UdpSocket> socket_;  // null while down
  EventLoop::Watch watch_;
  EventLoop::Watch handshake_watch_;
  EventLoop::Timer handshake_timer_;
  EventLoop::Timer timer_;
};

absl::StatusOr<std::unique_ptr<Driver>> Driver::Create(const PrivateKey& key,
                                                       const Options& options, EventLoop& loop,
                                                       Random& random, PacketSink& inside,
                                                       Device::Delegate* delegate) {
  auto impl = std::make_unique<Impl>(key, options, loop, random, inside, delegate);
  IM_RETURN_IF_ERROR(impl->Bind(options.listen));
  return std::unique_ptr<Driver>(new Driver(std::move(impl)));
}

Driver::Driver(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Driver::~Driver() = default;

void Driver::Write(PacketBatch batch) {
  impl_->Use([&](Device& device, Instant now, Outbox& out) {
    device.OnInsidePackets(batch, now, out);
  });
}

void Driver::SendTo(const PublicKey& peer, PacketBatch batch) {
  impl_->Use([&](Device& device, Instant now, Outbox& out) {
    device.SendTo(peer, batch, now, out);
  });
}

absl::Status Driver::SetPeer(const PeerConfig& peer) {
  return impl_->Use([&](Device& device, Instant now, Outbox& out) {
    return device.SetPeer(peer, now, out);
  });
}

bool Driver::RemovePeer(const PublicKey& peer) {
  return impl_->Use([&](Device& device, Instant, Outbox&) { return device.RemovePeer(peer); });
}

void Driver::Connect(const PublicKey& peer) {
  impl_->Use([&](Device& device, Instant now, Outbox& out) { device.Connect(peer, now, out); });
}

void Driver::Change(const std::function<void(Device&, Instant now, Outbox&)>& change) {
  impl_->Use(change);
}

Device& Driver::device() { return impl_->device(); }
const Device& Driver::device() const { return impl_->device(); }
Endpoint Driver::local_endpoint() const { return impl_->local_endpoint(); }
absl::Status Driver::SetUp(bool up) { return impl_->SetUp(up); }
bool Driver::up() const { return impl_->up(); }

absl::Status Driver::Rebind(const Endpoint& listen) {
  const Endpoint now = local_endpoint();
  const bool same_address = listen.address == now.address ||
                            (listen.address.is_unspecified() && now.address.is_unspecified());
  if (same_address && listen.port == now.port) return absl::OkStatus();
  return impl_->Bind(listen);
}

absl::Status Driver::SetFwmark(uint32_t fwmark) { return impl_->SetFwmark(fwmark); }
void Driver::SetBlockedCallback(std::function<void(bool blocked)> callback) {
  impl_->SetBlockedCallback(std::move(callback));
}
const DropCounters& Driver::socket_drops() const { return impl_->drops(); }
uint32_t Driver::fwmark() const { return impl_->fwmark(); }
uint64_t Driver::tx_bytes() const { return impl_->tx_bytes(); }
uint64_t Driver::rx_bytes() const { return impl_->rx_bytes(); }

}  // namespace im::tunnel
