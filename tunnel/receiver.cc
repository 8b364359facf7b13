#include "tunnel/receiver.h"

#include <algorithm>

#include "base/check.h"
#include "base/ip_header.h"
#include "tunnel/ecn.h"
#include "tunnel/message.h"
#include "tunnel/vouching.h"

namespace im::tunnel {
namespace {

// Messages that are opened together: so few of them are still in the
// first-level cache when their headers and checksums are looked at.
constexpr size_t kJobsPerOpen = 16;

}  // namespace

void Receiver::OnDatagrams(DatagramBatch& batch, Instant now, Outbox& out) {
  IM_CHECK(!busy_);
  busy_ = true;
  source_peer_ = nullptr;
  for (const DatagramRun& run : batch.runs()) {
    std::span<uint8_t> rest = run.bytes;
    while (!rest.empty()) {
      const size_t size =
          run.segment_size == 0 ? rest.size() : std::min<size_t>(run.segment_size, rest.size());
      OnDatagram(rest.first(size), run, now, out);
      rest = rest.subspan(size);
    }
  }
  FlushGroup(now, out);
  coalescer_.Flush(out.inside);
  busy_ = false;
}

void Receiver::OnDatagram(std::span<uint8_t> datagram, const DatagramRun& run, Instant now,
                          Outbox& out) {
  const auto type = ClassifyMessage(datagram);
  if (!type) {
    state_.drops.Add(DropReason::kMalformed);
  } else if (*type == MessageType::kTransport) {
    OnTransport(datagram, run, now, out);
  } else {
    // Messages are handled in order.
    FlushGroup(now, out);
    Peer* peer = handshaker_.OnMessage(*type, datagram, run, now, out);
    if (peer == nullptr) return;
    source_peer_ = nullptr;  // a delegate may have changed who owns what
    sender_.SendStaged(*peer, true, now, out);
  }
}

void Receiver::OnTransport(std::span<uint8_t> datagram, const DatagramRun& run, Instant now,
                           Outbox& out) {
  const TransportHeader header = ReadMessage<TransportHeader>(datagram);
  if (session_ == nullptr || session_->local_index() != header.receiver) {
    FlushGroup(now, out);
    const IndexTable::Entry* entry = state_.indices.Find(header.receiver);
    if (entry == nullptr || entry->session == nullptr || !entry->session->CanReceive(now)) {
      state_.drops.Add(DropReason::kUnknownIndex);
      return;
    }
    session_ = entry->session;
  } else if (jobs_.size() >= kJobsPerOpen) {
    // What a delegate does meanwhile may end the session.
    FlushGroup(now, out);
    return OnTransport(datagram, run, now, out);
  }
  if (!session_->MayAccept(header.counter)) {
    state_.drops.Add(DropReason::kReplayed);
    return;
  }
  uint8_t* sealed = datagram.data() + kTransportHeaderBytes;
  jobs_.push_back({.in = sealed,
                   .out = sealed,
                   .size = static_cast<uint32_t>(datagram.size() - kTransportOverhead),
                   .counter = header.counter});
  runs_.push_back(&run);
}

void Receiver::FlushGroup(Instant now, Outbox& out) {
  Session* const session = session_;
  session_ = nullptr;
  if (session == nullptr || jobs_.empty()) return;
  // Good until the device's outermost call ends, whatever a delegate does.
  Peer& peer = *state_.peers.At(session->peer_slot());
  session->Open(jobs_);

  const DatagramRun* last_run = nullptr;
  bool data = false;
  bool confirmed = false;
  for (size_t i = 0; i < jobs_.size() && !peer.removed; ++i) {
    const AeadJob& job = jobs_[i];
    if (!job.ok || !session->Accept(job.counter)) {
      state_.drops.Add(job.ok ? DropReason::kReplayed : DropReason::kDecryptFailed);
      continue;
    }
    peer.rx_bytes += job.size + kTransportOverhead;
    if (last_run == nullptr) {
      const size_t first = state_.retired.size();
      confirmed = peer.keypairs.ReceivedOn(
          *session, peer.public_key < state_.identity.public_key, state_.times.rekey_timeout,
          state_.retired);
      state_.ReleaseRetired(first);
      state_.Roam(peer, runs_[i]->peer, runs_[i]->local);
      if (confirmed) {
        OnFirstOfSession(peer);
      } else if (!peer.up && session == peer.keypairs.current()) {
        OnRevived(peer);
      }
    }
    last_run = runs_[i];
    if (job.size == 0 || peer.removed) continue;
    // Those of our own check before they send (vouching.h).
    bool trusted = peer.path_mtu != nullptr;
    std::span<uint8_t> plaintext(job.out, job.size);
    if (job.out[0] == 0 && trusted) {
      if (OnProbe(peer, plaintext, now, out)) continue;
      if (const auto inner = OpenEnvelope(plaintext)) {
        plaintext = *inner;
        trusted = false;
      }
    }
    data = true;
    OnPacket(peer, plaintext, trusted, runs_[i]->ecn);
  }
  jobs_.clear();
  runs_.clear();
  if (last_run == nullptr || peer.removed) return;

  state_.Roam(peer, last_run->peer, last_run->local);
  peer.unanswered = false;
  peer.timers.OnAuthenticReceived(now);
  if (data) peer.timers.OnDataReceived(now);
  if (confirmed) sender_.SendStaged(peer, false, now, out);
  // [W] 6.2: the last chance to renew a session that we only receive on.
  if (session == peer.keypairs.current() && session->WantsRekeyAfterReceive(now))
    handshaker_.Start(peer, now, out);
  state_.Reschedule(peer);
}

// The initiator has shown that it has the keys: the handshake is complete, and
// with it any of ours that is still out.
void Receiver::OnFirstOfSession(Peer& peer) {
  state_.DropPending(peer);
  state_.OnSessionCurrent(peer);
  state_.TellUp(peer);
  source_peer_ = nullptr;  // as above
}

// The peer was given up, but its session has outlived that.
void Receiver::OnRevived(Peer& peer) {
  peer.timers.OnSessionCurrent(peer.keypairs.current()->expires());
  state_.TellUp(peer);
  source_peer_ = nullptr;  // as above
}

bool Receiver::OnProbe(Peer& peer, std::span<const uint8_t> plaintext, Instant now,
                       Outbox& out) {
  const auto probe = ParseProbe(plaintext);
  if (!probe) return false;
  if (!probe->answer) {
    sender_.AnswerProbe(peer, *probe, now, out);
  } else {
    peer.path_mtu->OnAnswer(probe->token, now, state_.random);
    sender_.SendProbe(peer, now, out);
  }
  return true;
}

void Receiver::OnPacket(Peer& peer, std::span<uint8_t> plaintext, bool trusted,
                        uint8_t outer_ecn) {
  const auto route = ParseIpRoute(plaintext);
  if (!route) {
    state_.drops.Add(DropReason::kMalformed);
    return;
  }
  if (!SourceIsAllowed(peer, route->source)) {
    state_.drops.Add(DropReason::kSourceNotAllowed);
    return;
  }
  const std::span<uint8_t> packet = plaintext.first(route->total_size);
  if (!ApplyOuterEcn(packet, outer_ecn)) {
    state_.drops.Add(DropReason::kQueueFull);
    return;
  }
  coalescer_.Add(packet, trusted);
}

bool Receiver::SourceIsAllowed(const Peer& peer, const IpAddress& source) {
  if (source_peer_ == &peer && source_ == source) return source_allowed_;
  source_peer_ = &peer;
  source_ = source;
  source_allowed_ = state_.allowed_ips.Lookup(source) == peer.slot ||
                    (peer.relay && state_.allowed_ips.Owns(peer.slot, source));
  return source_allowed_;
}

}  // namespace im::tunnel
