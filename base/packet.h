// Packet, PacketBatch: IP packets on their way, a batch at a time.
//
// A batch owns an arena of a few large chunks; its packets are views into it.
// Moving a batch moves no bytes and leaves the views valid. A packet may be a
// super-packet: one IP packet of up to 64 KB with segment_size set, which
// stands for the train of segments that a NIC would cut it into (TSO, USO).
//
// Chunks come from and return to a pool of the thread (packet.cc), which keeps
// at most kPooledChunksMax of them, and none after a quiet spell, so that an
// idle instance holds next to nothing.

#ifndef IM_BASE_PACKET_H_
#define IM_BASE_PACKET_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace im {

// Largest IP packet, and so the largest super-packet, in bytes.
inline constexpr size_t kPacketBytesMax = 65535;

// Free bytes that Append leaves before and after every packet, so that tunnel
// headers, padding and tags are written in place.
inline constexpr size_t kPacketHeadroom = 64;
inline constexpr size_t kPacketTailroom = 64;

// One IP packet (or super-packet). A view: the batch owns the bytes.
struct Packet {
  uint8_t* data = nullptr;  // the IP header
  uint32_t size = 0;        // bytes from the IP header on
  // Transport payload bytes of each segment but the last; 0: not a
  // super-packet. Only for TCP and UDP.
  uint16_t segment_size = 0;
  // The TCP/UDP checksum field holds the pseudo-header's sum only (the
  // NEEDS_CSUM of virtio-net). Whoever hands the packet to a foreign end must
  // complete it (checksum.h).
  bool checksum_partial = false;
  // The TCP/UDP checksum is known to be right (it came out of an
  // authenticated session between our own ends, or was verified).
  bool checksum_valid = false;

  std::span<uint8_t> bytes() { return {data, size}; }
  std::span<const uint8_t> bytes() const { return {data, size}; }
};

// Movable, not copyable. Not thread-safe.
class PacketBatch {
 public:
  PacketBatch();
  ~PacketBatch();
  PacketBatch(PacketBatch&&) noexcept;
  PacketBatch& operator=(PacketBatch&&) noexcept;

  // Adds a packet of `size` uninitialized bytes.
  // Preconditions: size <= kPacketBytesMax. The reference is good until the
  // next Append; Packet::data as long as the bytes' batch.
  Packet& Append(size_t size);
  // Adds a copy of `packet` with its segment size and checksum state.
  Packet& AppendCopy(const Packet& packet);
  Packet& AppendCopy(std::span<const uint8_t> bytes);
  // Gives back the unused end of the last packet, after a read into it.
  void ShrinkLast(size_t size);
  void DropLast();

  bool empty() const { return packets_.empty(); }
  size_t size() const { return packets_.size(); }
  size_t total_bytes() const;  // sum of Packet::size
  Packet& operator[](size_t i) { return packets_[i]; }
  const Packet& operator[](size_t i) const { return packets_[i]; }
  auto begin() { return packets_.begin(); }
  auto end() { return packets_.end(); }
  auto begin() const { return packets_.begin(); }
  auto end() const { return packets_.end(); }

  // Forgets the packets; keeps one chunk for the next ones.
  void Clear();

 private:
  struct Chunk;
  friend PacketBatch SinglePacket(std::span<const uint8_t> bytes);
  Packet& AppendTo(Chunk& chunk, size_t size);

  std::vector<Packet> packets_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
};

// A batch with a copy of one packet.
PacketBatch SinglePacket(std::span<const uint8_t> bytes);

// Gives the calling thread's unused chunks back to the system. EventLoop does
// it after a quiet spell.
void TrimPacketPool();

}  // namespace im

#endif  // IM_BASE_PACKET_H_
