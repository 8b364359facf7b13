// Large segments: what lwIP queues may be many times what leaves as one packet.
//
// All that lwIP does with a segment (making it, sending it, looking at it when
// an acknowledgment comes) costs the same whether it has 1 KB or 60. So data is
// queued in segments of up to kLargeSegmentBytes, a multiple of the MSS, and
// leaves as super-packets with the MSS as their segment size (packet.h), which
// the tunnel cuts while it seals, or a TUN device's reader later.
//
// lwIP's MSS stays the peer's: its window, congestion control and Nagle go by
// it. It is larger only while data is queued (LargeSegments). lwIP sends whole
// segments, and only what fits its windows; so the first one that does not fit
// is cut (Output) when lwIP is told to send, and one of which a part was lost
// before it is sent again (tcp_recovery.cc). What lwIP sends by itself when an
// acknowledgment comes is followed by Output at the end of the turn.
//
// Cutting copies the part in front into a segment of its own; what is behind
// stays where it is, with its header moved up. So a segment that is cut off bit
// by bit is copied once. Parts are a multiple of the MSS, except at the edges
// of what a peer says it has (sack_scoreboard.h bounds these).
//
// Only connections with TcpRecovery have large segments: lwIP by itself would
// send all of one again.

#ifndef IM_NETSTACK_TCP_SEGMENTS_H_
#define IM_NETSTACK_TCP_SEGMENTS_H_

#include <cstddef>
#include <cstdint>

#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"

namespace im::netstack {

// What a tunnel seals as one run of datagrams: 64 KB with the headers that each
// of the packets gets.
inline constexpr size_t kLargeSegmentBytes = 65'507;
inline constexpr size_t kHeadersPerPacketBytes = 40 + 32;

// Cuts leave lwIP's count of queued pbufs, which is 16 bits wide, below this.
inline constexpr uint16_t kQueuedPbufsMax = 0xf000;

inline uint32_t SequenceOf(const tcp_seg& segment) { return lwip_ntohl(segment.tcphdr->seqno); }

// How much of a connection's data becomes one segment, in bytes: a multiple of
// the MSS. Never shrinks in the life of a connection (lwIP asserts on it).
uint16_t SegmentBytes(const tcp_pcb& pcb);

// While it lives lwIP queues large segments. Nothing else may be asked of lwIP.
class LargeSegments {
 public:
  explicit LargeSegments(tcp_pcb& pcb) : pcb_(pcb), mss_(pcb.mss) { pcb.mss = SegmentBytes(pcb); }
  ~LargeSegments() { pcb_.mss = mss_; }
  LargeSegments(const LargeSegments&) = delete;
  LargeSegments& operator=(const LargeSegments&) = delete;

 private:
  tcp_pcb& pcb_;
  const uint16_t mss_;
};

// Cuts `bytes` off the front of the segment `*at` points to; then `*at` points
// to the part in front, whose `next` is the rest. False, with nothing changed,
// when there is no memory or too much is queued.
// Preconditions: 0 < bytes < the segment's length.
bool CutSegment(tcp_pcb& pcb, tcp_seg** at, uint16_t bytes);

// Has lwIP send what its windows allow, the part of a large segment included.
void Output(tcp_pcb& pcb);

// To be called before lwIP's coarse timer: it splits the first unsent segment
// when it probes a small window, and asserts that it is no larger than an MSS.
void PrepareProbes();

}  // namespace im::netstack

#endif  // IM_NETSTACK_TCP_SEGMENTS_H_
