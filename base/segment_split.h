// SegmentSplitter: cuts a super-packet into the IP packets it stands for, as a
// NIC with TSO or USO would.
//
// Every segment gets its own lengths, IPv4 identification (counted up), TCP
// sequence number, and complete checksums. FIN and PSH stay on the last
// segment, CWR on the first (RFC 3168 6.1.2: it is a one-time signal).
//
// The sums over the headers are taken once for the packet; a segment adds what
// differs and its payload. A packet that is no super-packet is a train of one:
// it is copied, and a partial checksum is completed.

#ifndef IM_BASE_SEGMENT_SPLIT_H_
#define IM_BASE_SEGMENT_SPLIT_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/ip_header.h"
#include "base/packet.h"

namespace im {

// A view of `packet`, whose bytes must outlive it.
class SegmentSplitter {
 public:
  explicit SegmentSplitter(const Packet& packet);

  // False for what cannot be cut or completed: not TCP or UDP, a fragment, or
  // headers that do not fit. Such a packet is malformed; count() is 0.
  bool valid() const { return count_ != 0; }
  size_t count() const { return count_; }
  // Bytes of the IP packet of segment `i`. Preconditions: i < count().
  size_t size(size_t i) const;
  // The largest of them: that of the first.
  size_t size_max() const { return size(0); }
  // Writes segment `i`. Preconditions: i < count(), out.size() >= size(i).
  void Write(size_t i, std::span<uint8_t> out) const;

 private:
  size_t PayloadSize(size_t i) const;

  std::span<const uint8_t> bytes_;  // by the IP header's own length
  bool copy_only_ = false;          // nothing to change
  bool v6_ = false;
  bool tcp_ = false;
  uint16_t transport_offset_ = 0;
  uint16_t header_size_ = 0;   // bytes before the payload
  uint32_t segment_size_ = 0;  // payload bytes of each segment but the last
  size_t count_ = 0;
  uint16_t identification_ = 0;  // IPv4, of the first segment
  uint32_t sequence_ = 0;        // TCP, of the first segment
  // Sums over what is equal in all segments.
  uint64_t ip_sum_ = 0;
  uint64_t transport_sum_ = 0;  // with the pseudo-header, without its length
};

// How many packets `packet` stands for: 1 unless it is a super-packet, 0 if it
// is malformed.
size_t SegmentCount(const Packet& packet);

}  // namespace im

#endif  // IM_BASE_SEGMENT_SPLIT_H_
