#include "tunnel/sender.h"

#include <algorithm>
#include <cstring>

#include "base/checksum.h"
#include "base/ip_header.h"
#include "tunnel/ecn.h"
#include "tunnel/message.h"
#include "tunnel/segment_split.h"

namespace im::tunnel {
namespace {

constexpr uint32_t kEnd = UINT32_MAX;

// Datagrams that are sealed together. A super-packet's segments are copied to
// their places first; so few of them are still in the first-level cache when
// they are sealed.
constexpr size_t kJobsPerSeal = 16;

// Largest inner packet that fits a datagram, in bytes.
constexpr size_t kInnerBytesMax = kGsoBytesMax - kTransportOverhead;
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
    if (!peer->standby || peer->live()) return true;
    passed_over = peer;
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
  RunBuilder runs(out.datagrams, *peer.endpoint, peer.local, ExpectedBytes(packets));
  bool data = false;
  size_t taken = 0;
  while (taken < packets.size() && Add(session, packets[taken], now, runs)) {
    data = data || packets[taken].size != 0;
    ++taken;
  }
  runs.Close();
  if (!jobs_.empty()) {
    session.Seal(jobs_);
    peer.tx_bytes += runs.bytes();
    peer.timers.OnAuthenticSent(now);
    if (data) peer.timers.OnDataSent(now, state_.random);
    if (session.WantsRekeyAfterSend(now)) handshaker_.Start(peer, now, out);
    state_.Reschedule(peer);
  }
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
  if (packet.size > kInnerBytesMax) {
    state_.drops.Add(DropReason::kTooBig);
    return true;
  }
  if (session.messages_left(now) == 0) return false;
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

// [W] 5.4.6 pads to a multiple of 16, but no further than the MTU, so that a
// full packet does not outgrow the path.
size_t Sender::PaddedSize(size_t size) const {
  const size_t padded = (size + kPaddingMultiple - 1) / kPaddingMultiple * kPaddingMultiple;
  return std::min(padded, std::max(size, static_cast<size_t>(state_.options.mtu)));
}

}  // namespace im::tunnel
