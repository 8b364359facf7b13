// HeldPackets: packets for hosts that do not run yet, until they do.
//
// One SYN per 4-tuple and ISN: the caller's kernel repeats an unanswered SYN,
// and the host must see one. A SYN of the same 4-tuple with another ISN is a
// new attempt and takes the old one's place, whose connection is forgotten.
// All other packets are kept as they come, in order.
//
// Everything is bounded; what does not fit is not taken (its sender repeats
// it, as for any loss), and the result says which limit was hit.

#ifndef IM_ORCHESTRATOR_HELD_PACKETS_H_
#define IM_ORCHESTRATOR_HELD_PACKETS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/ip_header.h"
#include "base/packet.h"
#include "orchestrator/histogram.h"
#include "orchestrator/host.h"

namespace im::orchestrator {

class HeldPackets {
 public:
  struct Limits {
    // Per host: the callers of a popular host in the seconds of its start.
    size_t packets_per_host = 512;
    size_t bytes_per_host = 1 << 20;
    // Of all hosts: what imd may spend on them.
    size_t packets = 32'768;
    size_t bytes = 16 << 20;
  };

  enum class Result : uint8_t {
    kHeld,
    kDuplicate,        // the same SYN is held already
    kReplaced,         // took the place of an older SYN of its 4-tuple
    kHostPacketLimit,
    kHostByteLimit,
    kPacketLimit,
    kByteLimit,
  };

  HeldPackets();
  explicit HeldPackets(const Limits& limits);

  // Copies the packet. `view` is of it. Preconditions: deadlines of one host
  // do not go backwards.
  Result Enqueue(HostId host, const Packet& packet, const IpView& view, Instant now,
                 Instant deadline);

  // All packets of the host, in order; they are forgotten here.
  PacketBatch Take(HostId host);
  // The same for a host that is up: how long they were held is measured.
  PacketBatch TakeToDeliver(HostId host, Instant now);
  const Histogram& hold_times() const { return hold_times_; }

  // The packets of one host whose deadline is due; an empty batch and kNoHost
  // when there are none left. Call until then.
  struct Expired {
    HostId host = kNoHost;
    PacketBatch packets;
  };
  Expired Expire(Instant now);
  Instant NextDeadline() const;

  bool Has(HostId host) const { return queues_.contains(host); }
  size_t packets(HostId host) const;
  size_t packets() const { return packets_; }
  size_t bytes() const { return bytes_; }

 private:
  struct Entry {
    std::unique_ptr<uint8_t[]> data;
    uint32_t size = 0;
    uint16_t segment_size = 0;
    bool checksum_partial = false;
    bool checksum_valid = false;
    uint64_t syn_hash = 0;  // of the 4-tuple; 0: not a SYN
    uint32_t isn = 0;
    Instant since;
    Instant deadline;
  };
  struct Queue {
    std::deque<Entry> entries;
    size_t bytes = 0;
  };

  static void Fill(Entry& entry, const Packet& packet);
  static bool SameFlow(const Entry& entry, const IpView& view);
  static void MoveOut(Entry& entry, PacketBatch& batch);

  const Limits limits_;
  absl::flat_hash_map<HostId, Queue> queues_;  // no empty ones
  absl::btree_set<std::pair<Instant, HostId>> deadlines_;  // of each queue's front
  size_t packets_ = 0;
  size_t bytes_ = 0;
  Histogram hold_times_;
};

absl::string_view HeldResultName(HeldPackets::Result result);

}  // namespace im::orchestrator

#endif  // IM_ORCHESTRATOR_HELD_PACKETS_H_
