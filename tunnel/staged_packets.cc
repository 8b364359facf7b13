#include "tunnel/staged_packets.h"

#include <cstring>
#include <utility>

#include "tunnel/constants.h"

namespace im::tunnel {

size_t StagedPackets::Push(const Packet& packet) {
  size_t dropped = 0;
  while (!items_.empty() && (items_.size() >= kStagedPacketsMax ||
                             bytes_ + packet.size > kStagedBytesMax)) {
    DropOldest();
    ++dropped;
  }
  Item item;
  item.memory = std::make_unique_for_overwrite<uint8_t[]>(packet.size + kPacketTailroom);
  std::memcpy(item.memory.get(), packet.data, packet.size);
  item.packet = packet;
  item.packet.data = item.memory.get();
  bytes_ += packet.size;
  items_.push_back(std::move(item));
  return dropped;
}

void StagedPackets::DropOldest() {
  bytes_ -= items_.front().packet.size;
  items_.erase(items_.begin());
}

size_t StagedPackets::Clear() {
  const size_t count = items_.size();
  items_ = std::vector<Item>();  // its memory too
  bytes_ = 0;
  return count;
}

std::vector<Packet> StagedPackets::Views() const {
  std::vector<Packet> views;
  views.reserve(items_.size());
  for (const Item& item : items_) views.push_back(item.packet);
  return views;
}

}  // namespace im::tunnel
