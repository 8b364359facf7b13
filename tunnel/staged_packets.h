// StagedPackets: what waits for a peer's session, in order. At most
// kStagedPacketsMax and kStagedBytesMax; the oldest is dropped for the newest.

#ifndef IM_TUNNEL_STAGED_PACKETS_H_
#define IM_TUNNEL_STAGED_PACKETS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/packet.h"

namespace im::tunnel {

class StagedPackets {
 public:
  // Keeps a copy. Returns how many packets had to go for it.
  size_t Push(const Packet& packet);
  // Returns how many there were.
  size_t Clear();

  bool empty() const { return items_.empty(); }
  size_t size() const { return items_.size(); }
  size_t bytes() const { return bytes_; }

  // The packets with the same room behind each as a PacketBatch leaves; good
  // until the next change.
  std::vector<Packet> Views() const;

 private:
  struct Item {
    std::unique_ptr<uint8_t[]> memory;
    Packet packet;
  };
  void DropOldest();

  // Few, short-lived and in most peers none: a vector is smaller than a deque.
  std::vector<Item> items_;
  size_t bytes_ = 0;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_STAGED_PACKETS_H_
