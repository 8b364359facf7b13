#include "tunnel/driver.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "tunnel/udp_socket.h"

namespace im::tunnel {
namespace {

// Receives of one turn. With trains of 64 KB these are 2 MB, some 200
// microseconds of work, after which the others (a TUN, timers) have their turn.
constexpr int kReceivesPerTurn = 8;

// Handshake messages of one turn. Then there is a pause, many times as long as
// they took if there are data to be moved, so that a flood costs a small part of
// the time however slow the machine is and however little of it we get. Not so
// long that who starts anew with a thousand peers waits.
constexpr size_t kHandshakesPerTurn = 64;
struct Pause {
  int factor;
  Duration max;
};
constexpr Pause kPauseWithData = {40, std::chrono::milliseconds(10)};
constexpr Pause kPauseWhenIdle = {2, std::chrono::milliseconds(2)};
// While there is always more: how often the lanes are sorted anew. A sender
// repeats itself after five seconds.
constexpr Duration kSaltInterval = std::chrono::seconds(1);

// Sealed bytes that are sent before the turn ends: later the first of them
// would have left the cache, and its receiver would idle meanwhile.
constexpr size_t kFlushBytes = 128 << 10;

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
        random_(random),
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
    options.salt = NewSalt();
    IM_ASSIGN_OR_RETURN(std::unique_ptr<UdpSocket> socket, UdpSocket::Open(options, drops_));
    CountEarlierBytes();
    StopWatching();  // before its descriptors go
    socket_ = std::move(socket);
    local_ = socket_->local_endpoint();
    watch_ = loop_.WatchFd(socket_->fd(), EPOLLIN, [this](uint32_t events) { OnReady(events); });
    if (HandshakeLanes* lanes = socket_->handshakes()) {
      handshake_watch_ =
          loop_.WatchFd(lanes->fd(), EPOLLIN, [this, lanes](uint32_t) { OnHandshakes(*lanes); });
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

  void Write(PacketBatch& batch) {
    moved_data_ = true;
    Use([&](Device& device, Instant now, Outbox& out) { device.OnInsidePackets(batch, now, out); });
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

  void OnRestored() {
    // By a clock that may have gone back, the pause would last for ever.
    if (handshake_watch_.active()) handshake_watch_.SetEvents(EPOLLIN);
    handshake_timer_.Reset();
    Use([](Device& device, Instant now, Outbox& out) { device.OnRestored(now, out); });
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
    moved_data_ = true;
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

  void OnHandshakes(HandshakeLanes& lanes) {
    const Instant begin = loop_.clock().Now();
    size_t messages = 0;
    while (messages < kHandshakesPerTurn) {
      if (!lanes.Receive(received_)) return;
      messages += received_.runs().size();
      Use([this](Device& device, Instant now, Outbox& out) {
        device.OnDatagrams(received_, now, out);
      });
      received_.Clear();
    }
    if (begin - salted_ >= kSaltInterval) {
      salted_ = begin;
      lanes.SetSalt(NewSalt());
    }
    const Pause& pause = std::exchange(moved_data_, false) ? kPauseWithData : kPauseWhenIdle;
    const Duration spent = loop_.clock().Now() - begin;
    handshake_watch_.SetEvents(0);
    handshake_timer_ = loop_.After(std::min(spent * pause.factor, pause.max),
                                   [this] { handshake_watch_.SetEvents(EPOLLIN); });
  }

  uint64_t NewSalt() {
    std::array<uint8_t, sizeof(uint64_t)> bytes;
    random_.Fill(bytes);
    return std::bit_cast<uint64_t>(bytes);
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
  Random& random_;
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
  Instant salted_{};         // lately, by a flood
  bool moved_data_ = false;  // since the last such pause began
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

void Driver::Write(PacketBatch batch) { impl_->Write(batch); }

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
void Driver::OnRestored() { impl_->OnRestored(); }

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
DropCounters Driver::Drops() const {
  DropCounters all = device().drops();
  all.Add(impl_->drops());
  return all;
}
uint32_t Driver::fwmark() const { return impl_->fwmark(); }
uint64_t Driver::tx_bytes() const { return impl_->tx_bytes(); }
uint64_t Driver::rx_bytes() const { return impl_->rx_bytes(); }

}  // namespace im::tunnel
