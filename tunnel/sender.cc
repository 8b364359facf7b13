#include "tunnel/sender.h"

#include <algorithm>
#include <cstring>

#include "base/checksum.h"
#include "base/ip_build.h"
#include "base/ip_header.h"
#include "tunnel/ecn.h"
#include "tunnel/fit_mtu.h"
#include "tunnel/message.h"
#include "tunnel/segment_split.h"
#include "tunnel/vouching.h"

namespace im::tunnel {
namespace {

constexpr uint32_t kEnd = UINT32_MAX;

// Datagrams that are sealed together. A super-packet's segments are copied to
// their places first; so few of them are still in the first-level cache when
// they are sealed.
constexpr size_t kJobsPerSeal = 16;

// Largest inner packet that fits a datagram, in bytes.
constexpr size_t kInnerBytesMax = kGsoBytesMax - kTransportOverhead;
// How often a TCP sender whose segments are cut is told of it.
constexpr std::chrono::seconds kTellMtuInterval{1};
// Smallest IP header.
constexpr size_t kIpHeaderBytesMin = 20;
// Headers of a segment that are taken into account before they are parsed:
// IPv6 and TCP with all its options.
constexpr size_t kSegmentHeaderBytes = 100;

// How many bytes the packets will take as datagrams, at most or nearly so.
size_t ExpectedBytes(std::span<const Packet> packets) {
  size_t sum = 0;
  for (const Packet& packet : packets) {
    sum += packet.size + kTransportOverhead + kPaddingMultiple;
    if (packet.segment_size != 0) {
      sum += packet.size / packet.segment_size *
             (kSegmentHeaderBytes + kTransportOverhead + kPaddingMultiple);
    }
  }
  return sum;
}

}  // namespace

void Sender::SendInside(PacketBatch& batch, Instant now, Outbox& out) {
  ++batch_number_;
  order_.clear();
  next_.assign(batch.size(), kEnd);
  // Packets of one flow follow each other: look once.
  IpAddress last_destination;
  Peer* last_peer = nullptr;
  bool looked = false;
  for (uint32_t i = 0; i < batch.size(); ++i) {
    const auto route = ParseIpRoute(batch[i].bytes());
    if (!route) {
      state_.drops.Add(DropReason::kMalformed);
      continue;
    }
    if (!looked || route->destination != last_destination) {
      last_destination = route->destination;
      last_peer = RouteTo(last_destination, now, out);
      looked = true;
    }
    if (last_peer == nullptr) {
      state_.drops.Add(DropReason::kNoRoute);
      continue;
    }
    if (last_peer->batch_number != batch_number_) {
      last_peer->batch_number = batch_number_;
      last_peer->batch_first = i;
      order_.push_back(last_peer);
    } else {
      next_[last_peer->batch_last] = i;
    }
    last_peer->batch_last = i;
  }
  if (order_.size() == 1 && batch.size() > 0) {
    // The usual case: no sorting, unless some had to be left out.
    const Peer& peer = *order_[0];
    bool all = peer.batch_first == 0 && peer.batch_last == batch.size() - 1;
    for (uint32_t i = 0; all && i + 1 < batch.size(); ++i) all = next_[i] == i + 1;
    if (all) {
      SendTo(*order_[0], {&batch[0], batch.size()}, now, out);
      return;
    }
  }
  for (Peer* peer : order_) {
    packets_.clear();
    for (uint32_t i = peer->batch_first; i != kEnd; i = next_[i]) packets_.push_back(batch[i]);
    SendTo(*peer, packets_, now, out);
  }
}

Peer* Sender::RouteTo(const IpAddress& destination, Instant now, Outbox& out) {
  Peer* passed_over = nullptr;  // the one with the longest prefix
  const auto slot = state_.allowed_ips.Lookup(destination, [&](AllowedIps::Owner owner) {
    Peer* peer = state_.peers.At(owner);
    if (peer->carries()) return true;
    if (!peer->receive_only) passed_over = peer;
    return false;
  });
  if (passed_over != nullptr && now >= passed_over->standby_not_before)
    handshaker_.Start(*passed_over, now, out);
  return slot == AllowedIps::kNobody ? nullptr : state_.peers.At(slot);
}

void Sender::SendTo(Peer& peer, std::span<Packet> packets, Instant now, Outbox& out) {
  if (packets.empty()) return;
  if (!peer.endpoint) {
    state_.drops.Add(DropReason::kNoEndpoint, packets.size());
    return;
  }
  if (!peer.staged.empty()) SendStaged(peer, false, now, out);
  size_t sealed = 0;
  if (Session* session = peer.SendingSession(now); session != nullptr && peer.staged.empty())
    sealed = Seal(peer, *session, packets, now, out);
  if (sealed == packets.size()) return;
  Stage(peer, packets.subspan(sealed));
  handshaker_.Start(peer, now, out);
}

void Sender::Stage(Peer& peer, std::span<const Packet> packets) {
  for (const Packet& packet : packets)
    state_.drops.Add(DropReason::kQueueFull, peer.staged.Push(packet));
}

void Sender::SendStaged(Peer& peer, bool confirm, Instant now, Outbox& out) {
  Session* session = peer.SendingSession(now);
  if (session == nullptr || !peer.endpoint) return;
  if (!peer.staged.empty()) {
    StagedPackets staged = std::move(peer.staged);
    peer.staged.Clear();
    std::vector<Packet> packets = staged.Views();
    const size_t sealed = Seal(peer, *session, packets, now, out);
    if (sealed != packets.size()) Stage(peer, std::span(packets).subspan(sealed));
  } else if (confirm && !session->used()) {
    SendKeepalive(peer, now, out);
  }
}

void Sender::SendKeepalive(Peer& peer, Instant now, Outbox& out) {
  if (!peer.endpoint) return;
  Session* session = peer.SendingSession(now);
  if (session == nullptr) {
    handshaker_.Start(peer, now, out);
    return;
  }
  Packet keepalive;
  Seal(peer, *session, {&keepalive, 1}, now, out);
}

// ---- sealing ---------------------------------------------------------------

size_t Sender::Seal(Peer& peer, Session& session, std::span<Packet> packets, Instant now,
                    Outbox& out) {
  jobs_.clear();
  vouch_ = peer.path_mtu != nullptr;
  mtu_ = static_cast<size_t>(peer.path_mtu == nullptr ? state_.options.mtu : peer.path_mtu->mtu());
  RunBuilder runs(out.datagrams, *peer.endpoint, peer.local, ExpectedBytes(packets));
  bool data = false;
  size_t taken = 0;
  for (; taken < packets.size(); ++taken) {
    Packet& packet = packets[taken];
    if (peer.path_mtu != nullptr ? !FitPath(peer, packet, now, out)
                                 : peer.fit_mtu && !FitUsual(packet, out)) {
      continue;
    }
    if (!Add(session, packet, now, runs)) break;
    data = data || packet.size != 0;
  }
  runs.Close();
  if (!jobs_.empty()) {
    session.Seal(jobs_);
    peer.tx_bytes += runs.bytes();
    peer.timers.OnAuthenticSent(now);
    if (data) {
      peer.tx_data_bytes += runs.bytes();
      peer.timers.OnDataSent(now, state_.random);
    }
    if (session.WantsRekeyAfterSend(now)) handshaker_.Start(peer, now, out);
  }
  SendProbe(peer, now, out);
  state_.Reschedule(peer);
  return taken;
}

bool Sender::Add(Session& session, Packet& packet, Instant now, RunBuilder& runs) {
  if (packet.size == 0) {
    AddJob(session, 0, nullptr, kEcnNotCapable, runs);
    return true;
  }
  if (packet.size < kIpHeaderBytesMin) {
    state_.drops.Add(DropReason::kMalformed);
    return true;
  }
  if (packet.segment_size != 0) return AddSuperPacket(session, packet, now, runs);
  const bool envelope = vouch_ && !IsVouchedFor(packet);
  if (packet.size + (envelope ? kEnvelopeBytes : 0) > kInnerBytesMax) {
    state_.drops.Add(DropReason::kTooBig);
    return true;
  }
  if (session.messages_left(now) == 0) return false;
  if (envelope) {
    const size_t size = PaddedSize(packet.size + kEnvelopeBytes);
    uint8_t* plaintext = AddJob(session, size, nullptr, EcnOf(packet.bytes()), runs);
    WriteEnvelope(packet.bytes(), {plaintext, size});
    return true;
  }
  if (packet.checksum_partial) CompleteChecksum(packet);
  const size_t padded = PaddedSize(packet.size);
  // Every packet has kPacketTailroom bytes behind it.
  std::memset(packet.data + packet.size, 0, padded - packet.size);
  AddJob(session, padded, packet.data, EcnOf(packet.bytes()), runs);
  return true;
}

bool Sender::AddSuperPacket(Session& session, const Packet& packet, Instant now,
                            RunBuilder& runs) {
  const SegmentSplitter segments(packet);
  if (!segments.valid() || segments.size_max() > kInnerBytesMax) {
    state_.drops.Add(segments.valid() ? DropReason::kTooBig : DropReason::kMalformed);
    return true;
  }
  if (session.messages_left(now) < segments.count()) return false;
  const uint8_t ecn = EcnOf(packet.bytes());
  for (size_t i = 0; i < segments.count(); ++i) {
    const size_t size = segments.size(i);
    const size_t padded = PaddedSize(size);
    uint8_t* plaintext = AddJob(session, padded, nullptr, ecn, runs);
    segments.Write(i, {plaintext, size});
    std::memset(plaintext + size, 0, padded - size);
  }
  return true;
}

uint8_t* Sender::AddJob(Session& session, size_t size, const uint8_t* in, uint8_t ecn,
                        RunBuilder& runs) {
  if (jobs_.size() >= kJobsPerSeal) {
    session.Seal(jobs_);
    jobs_.clear();
  }
  const std::span<uint8_t> datagram = runs.Next(size + kTransportOverhead, ecn);
  TransportHeader header;
  header.receiver = session.remote_index();
  const uint64_t counter = session.TakeCounter();
  header.counter = counter;
  std::memcpy(datagram.data(), &header, sizeof(header));
  uint8_t* plaintext = datagram.data() + sizeof(header);
  jobs_.push_back({.in = in == nullptr ? plaintext : in,
                   .out = plaintext,
                   .size = static_cast<uint32_t>(size),
                   .counter = counter});
  return plaintext;
}

// ---- the path's MTU ----------------------------------------------------------

bool Sender::FitPath(Peer& peer, Packet& packet, Instant now, Outbox& out) {
  PathMtu& path = *peer.path_mtu;
  const uint16_t asked = packet.segment_size;
  // Before it is fitted: a path that carries more is looked for only if there is use for it.
  if (state_.options.join_mtu != 0) JoinSegments(packet, state_.options.join_mtu);
  FitResult result = FitToMtu(packet, path.mtu());
  // What was joined and cut again is no smaller than its sender made it.
  if (asked != 0 && packet.segment_size >= asked) result.fit = Fit::kWhole;
  path.OnSent(result.size, now, state_.random);
  if (result.fit == Fit::kTooBig && path.settled()) {
    state_.drops.Add(DropReason::kTooBig);
    TellMtu(packet.bytes(), result.mtu, out);
    return false;
  }
  // As long as we do not know, it goes out as it is, and the kernel may make
  // fragments of the datagram.
  if (result.fit == Fit::kTooBig && path.searching())
    peer.mtu_notices.Owe(packet.bytes(), result.size);
  // Nothing is lost by cutting, but a sender that knows loses less when a
  // segment gets lost. Not before we know ourselves.
  if (result.fit == Fit::kCut && path.settled() && now >= peer.told_mtu) {
    peer.told_mtu = now + state_.times.Scaled(kTellMtuInterval);
    TellMtu(packet.bytes(), result.mtu, out);
  }
  return true;
}

bool Sender::FitUsual(Packet& packet, Outbox& out) {
  const FitResult result = FitToMtu(packet, state_.options.mtu);
  if (result.fit != Fit::kTooBig) return true;
  state_.drops.Add(DropReason::kTooBig);
  TellMtu(packet.bytes(), result.mtu, out);
  return false;
}

void Sender::TellMtu(std::span<const uint8_t> packet, int mtu, Outbox& out) {
  if (const auto error = BuildTooBig(packet, mtu)) out.inside.AppendCopy(*error);
}

void Sender::SendProbe(Peer& peer, Instant now, Outbox& out) {
  if (peer.path_mtu == nullptr) return;
  if (peer.path_mtu->settled()) peer.mtu_notices.Pay(peer.path_mtu->mtu(), out.inside);
  const auto probe = peer.path_mtu->TakeProbe();
  Session* session = peer.SendingSession(now);
  // One that cannot be sent is as good as lost.
  if (!probe || session == nullptr || !peer.endpoint) return;
  const auto size = static_cast<uint32_t>(probe->size);
  SealProbe(peer, *session, {.answer = false, .size = size, .token = probe->token}, size, now,
            out);
  out.datagrams.runs().back().probe = probe->token;
}

void Sender::AnswerProbe(Peer& peer, const ProbeMessage& probe, Instant now, Outbox& out) {
  Session* session = peer.SendingSession(now);
  if (session == nullptr || !peer.endpoint) return;
  SealProbe(peer, *session, {.answer = true, .size = probe.size, .token = probe.token},
            kProbeBytesMin, now, out);
}

void Sender::SealProbe(Peer& peer, Session& session, const ProbeMessage& probe, size_t size,
                       Instant now, Outbox& out) {
  jobs_.clear();
  RunBuilder runs(out.datagrams, *peer.endpoint, peer.local, size + kTransportOverhead);
  WriteProbe(probe, {AddJob(session, size, nullptr, kEcnNotCapable, runs), size});
  runs.Close();
  session.Seal(jobs_);
  peer.tx_bytes += runs.bytes();
  peer.timers.OnAuthenticSent(now);
  state_.Reschedule(peer);
}

// [W] 5.4.6 pads to a multiple of 16, but no further than the MTU, so that a
// full packet does not outgrow the path.
size_t Sender::PaddedSize(size_t size) const {
  const size_t padded = (size + kPaddingMultiple - 1) / kPaddingMultiple * kPaddingMultiple;
  return std::min(padded, std::max(size, mtu_));
}

}  // namespace im::tunnel
