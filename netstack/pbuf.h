// Packet to pbuf and back, and a queue of received pbufs.

#ifndef IM_NETSTACK_PBUF_H_
#define IM_NETSTACK_PBUF_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/packet.h"
#include "lwip/pbuf.h"

namespace im::netstack {

// A flat copy; nullptr when there is no memory. lwIP writes into the packets
// that it receives and may keep them for long (out of order, or until they are
// read), so the batch's chunk, which is much larger, is not referred to.
pbuf* ToPbuf(std::span<const uint8_t> bytes);

// Appends the chain, laid out flat. Preconditions: at most kPacketBytesMax.
Packet& AppendPbuf(PacketBatch& batch, const pbuf* chain);

// Received bytes in order, as the pbufs that they came in. The pbufs are
// linked by their own `next`, so an empty queue holds no memory.
class PbufQueue {
 public:
  PbufQueue() = default;
  ~PbufQueue() { Clear(); }
  PbufQueue(const PbufQueue&) = delete;
  PbufQueue& operator=(const PbufQueue&) = delete;

  // Takes over the chain.
  void Push(pbuf* chain);
  // The first bytes, as many as lie together; empty if there are none.
  std::span<const uint8_t> Front() const;
  // Preconditions: n <= size().
  void Drop(size_t n);
  // Copies bytes out and drops them; returns how many.
  size_t Pop(std::span<uint8_t> out);
  size_t size() const { return size_; }  // bytes
  void Clear();

 private:
  pbuf* head_ = nullptr;
  pbuf* tail_ = nullptr;
  size_t offset_ = 0;  // bytes of head_ already taken
  size_t size_ = 0;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_PBUF_H_
