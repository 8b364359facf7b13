#include "tunnel/handshaker.h"

#include <memory>
#include <utility>

namespace im::tunnel {
namespace {

constexpr RateLimiter::Limits kSourceLimits = {.per_second = kSourceHandshakesPerSecond,
                                               .burst = kSourceHandshakesBurst,
                                               .sources_max = kWatchedSourcesMax};
constexpr RateLimiter::Limits kCookieReplyLimits = {.per_second = kCookieRepliesPerSecond,
                                                    .burst = kCookieRepliesBurst,
                                                    .sources_max = kWatchedSourcesMax};

}  // namespace

Handshaker::Handshaker(DeviceState& state)
    : state_(state),
      load_(state.options.under_load_handshakes_per_second),
      sources_(kSourceLimits),
      cookie_replies_(kCookieReplyLimits) {}

void Handshaker::ForgetLoad() {
  load_ = LoadMeter(state_.options.under_load_handshakes_per_second);
  sources_ = RateLimiter(kSourceLimits);
  cookie_replies_ = RateLimiter(kCookieReplyLimits);
}

// ---- as initiator ----------------------------------------------------------

void Handshaker::Start(Peer& peer, Instant now, Outbox& out) {
  if (!peer.endpoint || peer.timers.handshake_under_way()) return;
  peer.timers.StartAttempt();
  if (peer.last_initiation_sent &&
      now - *peer.last_initiation_sent < state_.times.rekey_timeout) {
    peer.timers.OnInitiationPostponed(*peer.last_initiation_sent + state_.times.rekey_timeout);
    state_.Reschedule(peer);
    return;
  }
  SendInitiation(peer, now, out);
}

void Handshaker::StartAnew(Peer& peer, Instant now, Outbox& out) {
  if (!peer.endpoint) return;
  peer.timers.StartAttempt();
  SendInitiation(peer, now, out);
}

bool Handshaker::Retry(Peer& peer, Instant now, Outbox& out) {
  if (!peer.timers.attempt_exhausted() && peer.endpoint) {
    // The first one was postponed, if none is out yet.
    if (peer.timers.attempts() > 0) peer.unanswered = true;
    // The route to it may have changed: let the kernel choose our address.
    peer.local = IpAddress();
    SendInitiation(peer, now, out);
    return true;
  }
  state_.DropPending(peer);
  peer.timers.OnGivenUp(now);
  peer.unanswered = false;
  peer.standby_not_before = now + state_.times.standby_retry;
  state_.drops.Add(DropReason::kHeldTooLong, peer.staged.Clear());
  state_.Reschedule(peer);
  return false;
}

void Handshaker::SendInitiation(Peer& peer, Instant now, Outbox& out) {
  state_.DropPending(peer);
  peer.last_initiation_sent = now;
  peer.timers.OnInitiationSent(now, state_.random);
  // [W] 6: a handshake message is authentic traffic too.
  peer.timers.OnAuthenticSent(now);
  state_.Reschedule(peer);

  const SecretKey* shared = state_.SharedWith(peer);
  // A key of low order: nobody can own it. The attempt will run out.
  if (shared == nullptr) return;
  const uint32_t index = state_.indices.Take(peer.slot, state_.random);
  InitiationMessage message;
  auto pending = CreateInitiation({peer.public_key, *shared}, index,
                                  state_.stamps.Next(state_.clock.UnixNanos(), peer.last_own_stamp),
                                  state_.random, state_.identity, message);
  if (!pending) {
    state_.indices.Release(index);
    return;
  }
  peer.pending = std::make_unique<PendingInitiation>(*std::move(pending));
  const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(&message), sizeof(message));
  peer.cookie.AddMacs(bytes, peer.public_key, now, state_.times.cookie_refresh);
  state_.SendHandshakeMessage(peer, bytes, out);
}

Peer* Handshaker::OnResponse(Bytes bytes, const DatagramRun& run, Instant now, Outbox& out) {
  const ResponseMessage message = ReadMessage<ResponseMessage>(bytes);
  const IndexTable::Entry* entry = state_.indices.Find(message.receiver);
  Peer* peer = entry == nullptr ? nullptr : state_.peers.At(entry->peer_slot);
  if (peer == nullptr || peer->pending == nullptr ||
      peer->pending->local_index != message.receiver) {
    Drop(DropReason::kUnknownIndex);
    return nullptr;
  }
  if (!PassesLoadChecks(bytes, message.sender, run, now, out)) return nullptr;
  const auto keys =
      ConsumeResponse(state_.identity, *peer->pending, peer->preshared_key, message);
  if (!keys) {
    Waste(DropReason::kDecryptFailed, now);
    return nullptr;
  }
  peer->pending.reset();  // its index becomes the session's
  peer->rx_bytes += bytes.size();
  state_.Roam(*peer, run.peer, run.local);
  const size_t first = state_.retired.size();
  peer->keypairs.BeginAsInitiator(
      state_.MakeSession(*peer, message.receiver, message.sender, true, *keys, now),
      state_.retired);
  state_.ReleaseRetired(first);
  peer->timers.OnAuthenticReceived(now);
  state_.OnSessionCurrent(*peer);
  state_.Reschedule(*peer);
  state_.TellUp(*peer);
  return peer->removed ? nullptr : peer;
}

void Handshaker::OnCookieReply(Bytes bytes, Instant now) {
  const CookieReplyMessage message = ReadMessage<CookieReplyMessage>(bytes);
  // An answer to our initiation or to our response.
  const IndexTable::Entry* entry = state_.indices.Find(message.receiver);
  Peer* peer = entry == nullptr ? nullptr : state_.peers.At(entry->peer_slot);
  if (peer == nullptr) {
    Drop(DropReason::kUnknownIndex);
    return;
  }
  if (!peer->cookie.Take(message, peer->public_key, now)) {
    Drop(DropReason::kDecryptFailed);
    return;
  }
  peer->rx_bytes += bytes.size();
}

// ---- as responder ----------------------------------------------------------

void Handshaker::OnInitiation(Bytes bytes, const DatagramRun& run, Instant now, Outbox& out) {
  const InitiationMessage message = ReadMessage<InitiationMessage>(bytes);
  if (!PassesLoadChecks(bytes, message.sender, run, now, out)) return;
  auto opened = OpenInitiation(state_.identity, message);
  if (!opened) return Waste(DropReason::kDecryptFailed, now);
  Peer* peer = state_.peers.Find(opened->remote_static);
  const SecretKey* shared = peer == nullptr ? nullptr : state_.SharedWith(*peer);
  if (shared == nullptr) return Waste(DropReason::kUnknownPeer, now);
  const auto stamp = OpenTimestamp(*opened, *shared);
  if (!stamp) return Waste(DropReason::kDecryptFailed, now);
  if (*stamp <= peer->greatest_stamp) return Waste(DropReason::kStaleTimestamp, now);
  if (peer->last_initiation_taken &&
      now - *peer->last_initiation_taken < state_.times.initiation_interval) {
    return Waste(DropReason::kRateLimited, now);
  }
  peer->greatest_stamp = *stamp;
  peer->last_initiation_taken = now;
  peer->rx_bytes += bytes.size();
  state_.Roam(*peer, run.peer, run.local);
  peer->timers.OnAuthenticReceived(now);
  SendResponse(*peer, *opened, now, out);
  state_.Reschedule(*peer);
}

void Handshaker::SendResponse(Peer& peer, const OpenedInitiation& opened, Instant now,
                              Outbox& out) {
  const uint32_t index = state_.indices.Take(peer.slot, state_.random);
  ResponseMessage message;
  const auto keys =
      CreateResponse(opened, peer.preshared_key, index, state_.random, message);
  if (!keys) {
    state_.indices.Release(index);
    Drop(DropReason::kDecryptFailed);
    return;
  }
  const size_t first = state_.retired.size();
  peer.keypairs.BeginAsResponder(
      state_.MakeSession(peer, index, opened.remote_index, false, *keys, now), state_.retired);
  state_.ReleaseRetired(first);
  const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(&message), sizeof(message));
  peer.cookie.AddMacs(bytes, peer.public_key, now, state_.times.cookie_refresh);
  peer.timers.OnAuthenticSent(now);
  state_.SendHandshakeMessage(peer, bytes, out);
}

// ---- both ------------------------------------------------------------------

bool Handshaker::PassesLoadChecks(Bytes message, uint32_t sender, const DatagramRun& run,
                                  Instant now, Outbox& out) {
  if (!load_.Count(now)) return true;
  if (!state_.cookies.Mac2IsRight(message, run.peer, now)) {
    if (cookie_replies_.Allow(run.peer.address, now)) {
      const CookieReplyMessage reply =
          state_.cookies.Reply(message, sender, run.peer, now, state_.random);
      out.datagrams.AddCopy(run.peer, BytesOfMessage(reply));
      out.datagrams.runs().back().local = run.local;
    }
    return Drop(DropReason::kRateLimited);
  }
  if (!sources_.Allow(run.peer.address, now)) return Drop(DropReason::kRateLimited);
  return true;
}

bool Handshaker::IsOneOfAFlood(MessageType type, Bytes message, const DatagramRun& run,
                               Instant now) const {
  return type == MessageType::kInitiation && load_.loaded(now) && !CookieJar::ShowsMac2(message) &&
         cookie_replies_.IsSpent(run.peer.address, now);
}

Peer* Handshaker::OnMessage(MessageType type, Bytes message, const DatagramRun& run, Instant now,
                            Outbox& out) {
  if (type == MessageType::kCookieReply) {
    OnCookieReply(message, now);
    return nullptr;
  }
  if (IsOneOfAFlood(type, message, run, now)) {
    load_.Count(now);
    Drop(DropReason::kRateLimited);
    return nullptr;
  }
  if (!state_.cookies.Mac1IsRight(message)) {
    Drop(DropReason::kBadMac);
    return nullptr;
  }
  if (type == MessageType::kResponse) return OnResponse(message, run, now, out);
  OnInitiation(message, run, now, out);
  return nullptr;
}

}  // namespace im::tunnel
