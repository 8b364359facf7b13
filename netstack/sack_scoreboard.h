// SackScoreboard: what one connection has in flight, segment by segment.
//
// A segment here is what was sent at once, so it may stand for many packets
// (tcp_segments.h). It is split where a peer says that it has a part of it.
//
// lwIP keeps what it sent in a queue but not when, nor what of it the peer
// has: that is here. Told of each transmission and of each acknowledgment, it
// knows of each segment whether it was delivered out of order (SACK, RFC 2018),
// is held to be lost (RACK, RFC 8985), or is still under way.
//
//   under way --- SACK ---> sacked        (delivered, not yet cumulatively)
//        |  ^
//   lost |  | sent again
//        v  |
//       lost ---- SACK ---> sacked
//
// A segment leaves when it is acknowledged cumulatively. Nothing that a peer
// says is believed beyond what was sent; bytes are counted once.

#ifndef IM_NETSTACK_SACK_SCOREBOARD_H_
#define IM_NETSTACK_SACK_SCOREBOARD_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"

namespace im::netstack {

// Nothing smaller is split off for a SACK block, in bytes: a peer's blocks may
// begin and end anywhere, and each piece costs memory. No packet of ours is
// smaller, but a last one (kLeastMss).
inline constexpr uint32_t kSackPieceBytesMin = 216;

// Sequence numbers: `end` is the first that is not part of it.
struct SackBlock {
  uint32_t begin = 0;
  uint32_t end = 0;
};

// a < b on the circle of sequence numbers.
inline bool SequenceBefore(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }

class SackScoreboard {
 public:
  struct Segment {
    uint32_t begin = 0;
    uint32_t end = 0;
    bool sacked = false;
    bool lost = false;           // and not sent again since
    bool retransmitted = false;  // at least once
    Instant sent_at;             // the last time
    uint32_t size() const { return end - begin; }
  };

  // What an acknowledgment brought.
  struct Delivery {
    uint32_t bytes = 0;           // newly delivered, in order or not
    bool reordered = false;       // one came late: after others that were sent later
    uint32_t late_bytes = 0;      // of those, what had been taken for lost
    std::optional<Duration> rtt;  // of the youngest one that was sent once
    // The youngest one that was delivered; sent at kNever if there is none.
    Instant sent_at = kNever;
    uint32_t end = 0;
  };

  // Bytes [begin, end) were sent, or sent again.
  void OnSent(uint32_t begin, uint32_t end, Instant now);

  // All before `acknowledged` is delivered, and so are the blocks. What was
  // sent twice and comes back sooner than `rtt_min` answers the first sending.
  Delivery OnAcknowledged(uint32_t acknowledged, std::span<const SackBlock> blocks,
                          Duration rtt_min, Instant now);

  // Takes for lost what was sent before the segment that was sent at `sent_at`
  // and ends at `end`, and for longer than `patience`. `next`: when the first
  // of those that were not yet will have been; else kNever.
  struct Losses {
    uint32_t bytes = 0;
    Instant next = kNever;
  };
  Losses DetectLosses(Instant sent_at, uint32_t end, Duration patience, Instant now);

  // All of it, sacked or not: the peer may have dropped what it had (RFC 2018 8).
  void MarkAllLost();
  void Clear();

  bool empty() const { return head_ == segments_.size(); }
  // In order of their sequence numbers.
  std::span<const Segment> segments() const {
    return std::span<const Segment>(segments_).subspan(head_);
  }
  uint32_t outstanding_bytes() const { return outstanding_; }
  uint32_t sacked_bytes() const { return sacked_; }
  uint32_t lost_bytes() const { return lost_; }
  // Under way, as far as is known ("pipe" of RFC 6675).
  uint32_t pipe_bytes() const { return outstanding_ - sacked_ - lost_; }
  size_t sacked_segments() const { return sacked_segments_; }

 private:
  using Iterator = std::vector<Segment>::iterator;

  Iterator begin() { return segments_.begin() + static_cast<ptrdiff_t>(head_); }
  // The first that ends behind `sequence`.
  Iterator Find(uint32_t sequence);
  void Count(const Segment& segment, int sign);
  void Deliver(const Segment& segment, Duration rtt_min, Instant now, Delivery& delivery);
  // Makes `at` a boundary between segments, if the pieces have `least` bytes.
  void Split(uint32_t at, uint32_t least = 1);
  void Compact();

  std::vector<Segment> segments_;  // those before head_ are gone
  size_t head_ = 0;
  uint32_t outstanding_ = 0;
  uint32_t sacked_ = 0;
  uint32_t lost_ = 0;
  size_t sacked_segments_ = 0;
  uint32_t highest_sacked_ = 0;  // end of it, if sacked_ > 0
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_SACK_SCOREBOARD_H_
