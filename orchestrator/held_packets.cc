#include "orchestrator/held_packets.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "absl/hash/hash.h"
#include "base/check.h"

namespace im::orchestrator {
namespace {

// Never 0, which stands for "not a SYN".
uint64_t SynHash(const IpView& view) { return absl::Hash<FlowKey>()(view.flow()) | 1; }

}  // namespace

HeldPackets::HeldPackets() : HeldPackets(Limits()) {}
HeldPackets::HeldPackets(const Limits& limits) : limits_(limits) {}

HeldPackets::Result HeldPackets::Enqueue(HostId host, const Packet& packet, const IpView& view,
                                         Instant now, Instant deadline) {
  const auto it = queues_.find(host);
  uint64_t syn_hash = 0;
  if (view.is_syn()) {
    syn_hash = SynHash(view);
    if (it != queues_.end()) {
      for (Entry& entry : it->second.entries) {
        if (entry.syn_hash != syn_hash || !SameFlow(entry, view)) continue;
        if (entry.isn == view.tcp_sequence) return Result::kDuplicate;
        const size_t old_size = entry.size;
        if (bytes_ - old_size + packet.size > limits_.bytes) return Result::kByteLimit;
        if (it->second.bytes - old_size + packet.size > limits_.bytes_per_host)
          return Result::kHostByteLimit;
        // The place in the queue, and so the deadline, is the old one's: what
        // is due first must stay in front.
        Fill(entry, packet);
        entry.isn = view.tcp_sequence;
        it->second.bytes += packet.size - old_size;
        bytes_ += packet.size - old_size;
        return Result::kReplaced;
      }
    }
  }
  const size_t host_packets = it == queues_.end() ? 0 : it->second.entries.size();
  const size_t host_bytes = it == queues_.end() ? 0 : it->second.bytes;
  if (host_packets >= limits_.packets_per_host) return Result::kHostPacketLimit;
  if (host_bytes + packet.size > limits_.bytes_per_host) return Result::kHostByteLimit;
  if (packets_ >= limits_.packets) return Result::kPacketLimit;
  if (bytes_ + packet.size > limits_.bytes) return Result::kByteLimit;

  Queue& queue = it == queues_.end() ? queues_[host] : it->second;
  if (queue.entries.empty()) {
    deadlines_.emplace(deadline, host);
  } else {
    IM_CHECK(deadline >= queue.entries.back().deadline);
  }
  Entry& entry = queue.entries.emplace_back();
  Fill(entry, packet);
  entry.syn_hash = syn_hash;
  entry.isn = view.tcp_sequence;
  entry.since = now;
  entry.deadline = deadline;
  queue.bytes += packet.size;
  bytes_ += packet.size;
  ++packets_;
  return Result::kHeld;
}

PacketBatch HeldPackets::Take(HostId host) {
  PacketBatch batch;
  const auto it = queues_.find(host);
  if (it == queues_.end()) return batch;
  deadlines_.erase({it->second.entries.front().deadline, host});
  for (Entry& entry : it->second.entries) MoveOut(entry, batch);
  packets_ -= it->second.entries.size();
  bytes_ -= it->second.bytes;
  queues_.erase(it);
  return batch;
}

PacketBatch HeldPackets::TakeToDeliver(HostId host, Instant now) {
  if (const auto it = queues_.find(host); it != queues_.end()) {
    for (const Entry& entry : it->second.entries) hold_times_.Add(now - entry.since);
  }
  return Take(host);
}

HeldPackets::Expired HeldPackets::Expire(Instant now) {
  Expired expired;
  if (deadlines_.empty() || deadlines_.begin()->first > now) return expired;
  expired.host = deadlines_.begin()->second;
  deadlines_.erase(deadlines_.begin());
  const auto it = queues_.find(expired.host);
  Queue& queue = it->second;
  while (!queue.entries.empty() && queue.entries.front().deadline <= now) {
    Entry& entry = queue.entries.front();
    MoveOut(entry, expired.packets);
    queue.bytes -= entry.size;
    bytes_ -= entry.size;
    --packets_;
    queue.entries.pop_front();
  }
  if (queue.entries.empty()) {
    queues_.erase(it);
  } else {
    deadlines_.emplace(queue.entries.front().deadline, expired.host);
  }
  return expired;
}

Instant HeldPackets::NextDeadline() const {
  return deadlines_.empty() ? kNever : deadlines_.begin()->first;
}

size_t HeldPackets::packets(HostId host) const {
  const auto it = queues_.find(host);
  return it == queues_.end() ? 0 : it->second.entries.size();
}

void HeldPackets::Fill(Entry& entry, const Packet& packet) {
  entry.data = std::make_unique<uint8_t[]>(packet.size);
  std::memcpy(entry.data.get(), packet.data, packet.size);
  entry.size = packet.size;
  entry.segment_size = packet.segment_size;
  entry.checksum_partial = packet.checksum_partial;
  entry.checksum_valid = packet.checksum_valid;
}

bool HeldPackets::SameFlow(const Entry& entry, const IpView& view) {
  const std::optional<IpView> held =
      ParseIp(std::span<const uint8_t>(entry.data.get(), entry.size));
  return held && held->flow() == view.flow();
}

void HeldPackets::MoveOut(Entry& entry, PacketBatch& batch) {
  Packet packet;
  packet.data = entry.data.get();
  packet.size = entry.size;
  packet.segment_size = entry.segment_size;
  packet.checksum_partial = entry.checksum_partial;
  packet.checksum_valid = entry.checksum_valid;
  batch.AppendCopy(packet);
}

absl::string_view HeldResultName(HeldPackets::Result result) {
  switch (result) {
    case HeldPackets::Result::kHeld:
      return "held";
    case HeldPackets::Result::kDuplicate:
      return "held already";
    case HeldPackets::Result::kReplaced:
      return "held in place of an older SYN";
    case HeldPackets::Result::kHostPacketLimit:
      return "too many packets held for the host";
    case HeldPackets::Result::kHostByteLimit:
      return "too many bytes held for the host";
    case HeldPackets::Result::kPacketLimit:
      return "too many packets held";
    case HeldPackets::Result::kByteLimit:
      return "too many bytes held";
  }
  return "unknown";
}

}  // namespace im::orchestrator
