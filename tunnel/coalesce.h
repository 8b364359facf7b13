// Coalescer: merges decrypted packets into super-packets, as GRO does, so that
// whoever takes them (a TUN device, lwIP) touches a train once.
//
// TCP segments are merged while they follow each other exactly in one flow and
// nothing would be lost by it: the same acknowledgment, window, options, TTL,
// traffic class and DF; no flags but ACK (and equal ECE), and PSH, which ends
// the train; every payload as long as the first, and a shorter one ends the
// train. UDP datagrams of one flow are merged while they are equally long, a
// shorter one ending the train. SegmentSplitter undoes it.
//
// Packets keep the order of the first packet of their train, so the order
// within a flow never changes; kCoalescedFlowsMax flows may be interleaved.
//
// Before a packet is merged its checksum is verified unless it is trusted,
// since merging replaces it: a wrong one must stay visible to the receiver.

#ifndef IM_TUNNEL_COALESCE_H_
#define IM_TUNNEL_COALESCE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/packet.h"

namespace im::tunnel {

// Trains that can grow at the same time. One receive batch seldom has more
// flows; a packet of a further flow ends the train that grew longest ago.
inline constexpr size_t kCoalescedFlowsMax = 8;
// Datagrams of one UDP super-packet: what Linux cuts at most (UDP_MAX_SEGMENTS).
inline constexpr size_t kCoalescedDatagramsMax = 64;

// Kept for reuse by its owner: holds no memory of its own but small vectors.
class Coalescer {
 public:
  Coalescer();
  ~Coalescer();
  Coalescer(const Coalescer&) = delete;
  Coalescer& operator=(const Coalescer&) = delete;

  // The next packet in order, without padding behind it. Its bytes must stay
  // until Flush, and are not changed. `trusted`: its transport checksum is
  // known to be right, if it is whole TCP or UDP (not needed to be looked at).
  void Add(std::span<const uint8_t> packet, bool trusted);

  // Appends copies of everything added since the last Flush to `out`.
  void Flush(PacketBatch& out);

 private:
  struct Headers;
  struct Train;

  // The open train of the packet's flow, moved to the front; null if none.
  Train* Find(const Headers& headers);
  bool Join(Train& train, const Headers& headers);
  void Open(const Headers& headers);
  void Emit(const Train& train, PacketBatch& out) const;

  struct Item {
    std::span<const uint8_t> packet;
    uint32_t next = 0;  // the following packet of the same train; 0: none
  };
  std::vector<Item> items_;
  std::vector<Train> trains_;
  // Indices of trains + 1, most recently used first; 0: free.
  std::array<uint32_t, kCoalescedFlowsMax> open_{};
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_COALESCE_H_
