// Device: configuration and time; data goes through Sender and Receiver.
//
// A delegate may call the device again from within a call. Peers and sessions
// that end meanwhile are kept until the outermost call is over (Impl::Call).

#include "tunnel/device.h"

#include <utility>

#include "base/check.h"
#include "tunnel/device_state.h"
#include "tunnel/handshaker.h"
#include "tunnel/receiver.h"
#include "tunnel/sender.h"

namespace im::tunnel {

class Device::Impl {
 public:
  Impl(const PrivateKey& key, const Options& options, const Clock& clock, Random& random,
       Delegate* delegate)
      : state(key, options, clock, random, delegate),
        handshaker(state),
        sender(state, handshaker),
        receiver(state, handshaker, sender) {}

  class Call {
   public:
    explicit Call(Impl& impl) : impl_(impl) { ++impl_.depth_; }
    ~Call() {
      if (--impl_.depth_ > 0) return;
      impl_.state.retired.clear();
      impl_.state.peers.Bury();
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    Impl& impl_;
  };

  void Configure(Peer& peer, const PeerConfig& config, Instant now, Outbox& out);
  void Remove(Peer& peer);
  // Forgets keys, handshake and timers; configuration stays.
  void Restart(Peer& peer, Instant now);
  void Fire(Peer& peer, PeerTimer timer, Instant now, Outbox& out);
  PeerStatus StatusOf(const Peer& peer) const;

  DeviceState state;
  Handshaker handshaker;
  Sender sender;
  Receiver receiver;
  bool up = true;

 private:
  Duration PersistentInterval(const Peer& peer) const {
    if (!up || peer.persistent_keepalive.count() <= 0) return Duration(0);
    return state.times.Scaled(peer.persistent_keepalive);
  }

  int depth_ = 0;
};

// ---- configuration ---------------------------------------------------------

void Device::Impl::Configure(Peer& peer, const PeerConfig& config, Instant now, Outbox& out) {
  if (!(peer.preshared_key == config.preshared_key)) {
    peer.preshared_key = config.preshared_key;
    Restart(peer, now);
  }
  peer.standby = config.standby;
  peer.receive_only = config.receive_only;
  peer.relay = config.relay;
  peer.fit_mtu = config.fit_mtu;
  if (config.probe_mtu != (peer.path_mtu != nullptr)) {
    peer.path_mtu =
        config.probe_mtu ? std::make_unique<PathMtu>(peer.slot, state.times) : nullptr;
  }
  state.allowed_ips.RemoveOwner(peer.slot);
  for (const IpPrefix& prefix : config.allowed_ips) state.allowed_ips.Insert(prefix, peer.slot);

  const bool moved = config.endpoint && config.endpoint != peer.endpoint;
  if (moved) {
    state.Roam(peer, *config.endpoint, IpAddress());
    // Whatever is out went elsewhere.
    if (peer.timers.handshake_under_way()) handshaker.StartAnew(peer, now, out);
  }
  const bool keep_alive = up && config.persistent_keepalive.count() > 0;
  const bool changed = config.persistent_keepalive != peer.persistent_keepalive;
  if (changed) {
    peer.persistent_keepalive = config.persistent_keepalive;
    peer.timers.SetPersistentKeepalive(PersistentInterval(peer), now);
  }
  if (keep_alive && (changed || moved)) sender.SendKeepalive(peer, now, out);
  state.Reschedule(peer);
}

void Device::Impl::Restart(Peer& peer, Instant now) {
  state.DropKeys(peer);
  peer.up = false;
  peer.unanswered = false;
  peer.last_initiation_sent.reset();
  peer.cookie = CookieHolder();
  peer.timers.Reset();
  peer.timers.SetPersistentKeepalive(PersistentInterval(peer), now);
  state.Reschedule(peer);
}

void Device::Impl::Remove(Peer& peer) {
  state.DropKeys(peer);
  state.allowed_ips.RemoveOwner(peer.slot);
  state.deadlines.Set(peer.slot, kNever);
  if (peer.last_own_stamp != 0) state.stamps.Forget(peer.last_own_stamp);
  state.peers.Remove(peer);
}

PeerStatus Device::Impl::StatusOf(const Peer& peer) const {
  return {.public_key = peer.public_key,
          .preshared_key = peer.preshared_key,
          .endpoint = peer.endpoint,
          .allowed_ips = state.allowed_ips.List(peer.slot),
          .persistent_keepalive = peer.persistent_keepalive,
          .last_handshake_unix_nanos = peer.last_handshake_unix_nanos,
          .rx_bytes = peer.rx_bytes,
          .tx_bytes = peer.tx_bytes,
          .tx_data_bytes = peer.tx_data_bytes,
          .session_live = peer.live(),
          .mtu = peer.path_mtu == nullptr ? state.options.mtu : peer.path_mtu->mtu()};
}

// ---- time ------------------------------------------------------------------

void Device::Impl::Fire(Peer& peer, PeerTimer timer, Instant now, Outbox& out) {
  switch (timer) {
    case PeerTimer::kRetransmit:
      if (peer.receive_only || !handshaker.Retry(peer, now, out)) state.TellDown(peer);
      break;
    case PeerTimer::kKeepalive:
    case PeerTimer::kPersistent:
      sender.SendKeepalive(peer, now, out);
      break;
    case PeerTimer::kNewHandshake:
      peer.local = IpAddress();  // the route may have changed
      if (!peer.receive_only) handshaker.Start(peer, now, out);
      break;
    case PeerTimer::kSessionExpiry:
      state.TellDown(peer);
      break;
    case PeerTimer::kZeroKeys:
      state.DropKeys(peer);
      break;
    case PeerTimer::kCount:
      IM_CHECK(false);
  }
}

Instant Device::NextDeadline() const { return impl_->state.deadlines.next(); }

void Device::OnTimer(Instant now, Outbox& out) {
  const Impl::Call call(*impl_);
  DeviceState& state = impl_->state;
  while (state.deadlines.next() <= now) {
    Peer& peer = *state.peers.At(state.deadlines.next_owner());
    // One at a time: the next may have moved, or the peer be gone.
    if (const auto timer = peer.timers.PopDue(now)) {
      impl_->Fire(peer, *timer, now, out);
    } else {
      IM_CHECK(peer.path_mtu != nullptr);
      peer.path_mtu->OnTimer(now, state.random);
      impl_->sender.SendProbe(peer, now, out);
    }
    state.Reschedule(peer);
  }
}

// ---- the interface ---------------------------------------------------------

Device::Device(const PrivateKey& key, const Options& options, const Clock& clock, Random& random,
               Delegate* delegate)
    : impl_(std::make_unique<Impl>(key, options, clock, random, delegate)) {
  IM_CHECK(options.time_divisor >= 1 && options.mtu > 0);
}
Device::~Device() = default;

void Device::SetPrivateKey(const PrivateKey& key) {
  DeviceState& state = impl_->state;
  if (key == state.identity.private_key) return;
  const Impl::Call call(*impl_);
  state.identity = Identity(key);
  state.cookies = CookieJar(state.identity.public_key, state.times.cookie_refresh);
  if (Peer* self = state.peers.Find(state.identity.public_key)) impl_->Remove(*self);
  state.peers.ForEach([this](Peer& peer) {
    peer.shared.reset();
    // Persistent keepalives are due at once.
    impl_->Restart(peer, Instant{});
  });
}

const PrivateKey& Device::private_key() const { return impl_->state.identity.private_key; }
const PublicKey& Device::public_key() const { return impl_->state.identity.public_key; }

void Device::SetMtu(int mtu_bytes) {
  IM_CHECK(mtu_bytes > 0);
  impl_->state.options.mtu = mtu_bytes;
}

void Device::SetUp(bool up, Instant now, Outbox& out) {
  if (up == impl_->up) return;
  const Impl::Call call(*impl_);
  impl_->up = up;
  impl_->state.peers.ForEach([&](Peer& peer) {
    peer.staged.Clear();
    impl_->Restart(peer, now);
    if (up && peer.persistent_keepalive.count() > 0) impl_->sender.SendKeepalive(peer, now, out);
    impl_->state.Reschedule(peer);
  });
}

void Device::OnRestored(Instant now, Outbox& out) {
  DeviceState& state = impl_->state;
  const Impl::Call call(*impl_);
  state.cookies = CookieJar(state.identity.public_key, state.times.cookie_refresh);
  impl_->handshaker.ForgetLoad();
  state.peers.ForEach([&](Peer& peer) {
    const bool wanted = peer.keypairs.any() || peer.timers.handshake_under_way();
    impl_->Restart(peer, now);
    peer.last_initiation_taken.reset();
    peer.standby_not_before = peer.told_mtu = Instant{};
    peer.local = IpAddress();
    if (peer.path_mtu != nullptr) peer.path_mtu = std::make_unique<PathMtu>(peer.slot, state.times);
    if (!impl_->up) return;
    if (wanted) impl_->handshaker.Start(peer, now, out);
    state.Reschedule(peer);
  });
}

absl::Status Device::SetPeer(const PeerConfig& config, Instant now, Outbox& out) {
  DeviceState& state = impl_->state;
  if (config.public_key == state.identity.public_key)
    return absl::InvalidArgumentError("set peer: the public key is our own");
  const Impl::Call call(*impl_);
  Peer* peer = state.peers.Find(config.public_key);
  if (peer == nullptr) peer = &state.peers.Add(config.public_key, state.times);
  impl_->Configure(*peer, config, now, out);
  return absl::OkStatus();
}

bool Device::RemovePeer(const PublicKey& key) {
  Peer* peer = impl_->state.peers.Find(key);
  if (peer == nullptr) return false;
  const Impl::Call call(*impl_);
  impl_->Remove(*peer);
  return true;
}

void Device::RemoveAllPeers() {
  const Impl::Call call(*impl_);
  impl_->state.peers.ForEach([this](Peer& peer) { impl_->Remove(peer); });
}

std::optional<PeerConfig> Device::GetPeerConfig(const PublicKey& key) const {
  const Peer* peer = impl_->state.peers.Find(key);
  if (peer == nullptr) return std::nullopt;
  return PeerConfig{.public_key = peer->public_key,
                    .preshared_key = peer->preshared_key,
                    .endpoint = peer->endpoint,
                    .allowed_ips = impl_->state.allowed_ips.List(peer->slot),
                    .persistent_keepalive = peer->persistent_keepalive,
                    .standby = peer->standby,
                    .receive_only = peer->receive_only,
                    .relay = peer->relay,
                    .probe_mtu = peer->path_mtu != nullptr,
                    .fit_mtu = peer->fit_mtu};
}

uint64_t Device::TxDataBytes(const PublicKey& key) const {
  const Peer* peer = impl_->state.peers.Find(key);
  return peer == nullptr ? 0 : peer->tx_data_bytes;
}

std::optional<PeerStatus> Device::GetPeer(const PublicKey& key) const {
  const Peer* peer = impl_->state.peers.Find(key);
  if (peer == nullptr) return std::nullopt;
  return impl_->StatusOf(*peer);
}

std::vector<PeerStatus> Device::ListPeers() const {
  std::vector<PeerStatus> list;
  list.reserve(impl_->state.peers.size());
  impl_->state.peers.ForEach([&](const Peer& peer) { list.push_back(impl_->StatusOf(peer)); });
  return list;
}

std::optional<PublicKey> Device::Route(const IpAddress& destination) const {
  const DeviceState& state = impl_->state;
  const auto slot = state.allowed_ips.Lookup(destination, [&](AllowedIps::Owner owner) {
    return state.peers.At(owner)->carries();
  });
  if (slot == AllowedIps::kNobody) return std::nullopt;
  return state.peers.At(slot)->public_key;
}

void Device::Connect(const PublicKey& key, Instant now, Outbox& out) {
  Peer* peer = impl_->state.peers.Find(key);
  if (peer == nullptr || (peer->up && peer->SendingSession(now) != nullptr)) return;
  const Impl::Call call(*impl_);
  impl_->handshaker.Start(*peer, now, out);
}

void Device::OnInsidePackets(PacketBatch& batch, Instant now, Outbox& out) {
  const Impl::Call call(*impl_);
  impl_->sender.SendInside(batch, now, out);
}

void Device::SendTo(const PublicKey& key, PacketBatch& batch, Instant now, Outbox& out) {
  if (batch.empty()) return;
  Peer* peer = impl_->state.peers.Find(key);
  if (peer == nullptr) {
    impl_->state.drops.Add(DropReason::kNoRoute, batch.size());
    return;
  }
  const Impl::Call call(*impl_);
  impl_->sender.SendTo(*peer, {&batch[0], batch.size()}, now, out);
}

void Device::OnDatagrams(DatagramBatch& batch, Instant now, Outbox& out) {
  const Impl::Call call(*impl_);
  impl_->receiver.OnDatagrams(batch, now, out);
}

void Device::OnProbeRefused(uint64_t probe, Instant now, Outbox& out) {
  Peer* peer = impl_->state.peers.At(PathMtu::SlotOf(probe));
  if (peer == nullptr || peer->path_mtu == nullptr) return;
  const Impl::Call call(*impl_);
  peer->path_mtu->OnRefused(probe, now, impl_->state.random);
  impl_->sender.SendProbe(*peer, now, out);
  impl_->state.Reschedule(*peer);
}

const DropCounters& Device::drops() const { return impl_->state.drops; }

}  // namespace im::tunnel
