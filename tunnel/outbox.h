// What a Device wants done: datagrams to send, packets to hand inside.

#ifndef IM_TUNNEL_OUTBOX_H_
#define IM_TUNNEL_OUTBOX_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/ip_address.h"
#include "base/packet.h"

namespace im::tunnel {

// UDP payload bytes of one send with UDP_SEGMENT, and segments of it
// (Linux: UDP_MAX_SEGMENTS).
inline constexpr size_t kGsoBytesMax = 65507;
inline constexpr size_t kGsoSegmentsMax = 64;

// A run of datagrams to (or from) one endpoint, back to back in memory: every
// one `segment_size` bytes long but the last, which may be shorter. One
// datagram is a run of one.
struct DatagramRun {
  Endpoint peer;
  IpAddress local;            // sticky source / destination address; unspecified: any
  uint8_t ecn = 0;            // RFC 6040
  uint32_t segment_size = 0;  // bytes
  // Not 0: one datagram that must not be fragmented, and whose refusal for its
  // size is to be told (Device::OnProbeRefused).
  uint64_t probe = 0;
  std::span<uint8_t> bytes;
};

// Owns the bytes of its runs, in large chunks that are reused.
// Movable, not copyable. A batch that was never used holds no memory.
class DatagramBatch {
 public:
  DatagramBatch();
  ~DatagramBatch();
  DatagramBatch(DatagramBatch&&) noexcept;
  DatagramBatch& operator=(DatagramBatch&&) noexcept;

  // `size` uninitialized bytes that stay valid until Clear(). 16-byte aligned.
  std::span<uint8_t> Allocate(size_t size);
  // Gives back the end of the last allocation.
  void ShrinkLast(size_t size);
  void Add(const DatagramRun& run) { runs_.push_back(run); }
  // A run of one with a copy of `bytes`.
  void AddCopy(const Endpoint& peer, std::span<const uint8_t> bytes);

  std::vector<DatagramRun>& runs() { return runs_; }
  const std::vector<DatagramRun>& runs() const { return runs_; }
  bool empty() const { return runs_.empty(); }
  // Forgets the runs. Keeps the chunks that were used since the last Clear, or
  // one less than it had: a steady load allocates nothing, and a quiet one
  // gives back a chunk each time, down to one.
  void Clear();

 private:
  struct Chunk;
  std::vector<DatagramRun> runs_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  size_t active_ = 0;  // the chunk that is being filled
};

// Filled by every Device call; the caller sends, delivers, and clears.
struct Outbox {
  DatagramBatch datagrams;
  PacketBatch inside;  // decrypted, source-checked packets
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_OUTBOX_H_
