#include "tunnel/peer_table.h"

#include <utility>

#include "base/check.h"

namespace im::tunnel {

Peer& PeerTable::Add(const PublicKey& key, const ProtocolTimes& times) {
  uint32_t slot = static_cast<uint32_t>(slots_.size());
  if (free_slots_.empty()) {
    slots_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  IM_CHECK(by_key_.emplace(key, slot).second);
  slots_[slot] = std::make_unique<Peer>(slot, key, times);
  return *slots_[slot];
}

void PeerTable::Remove(Peer& peer) {
  IM_CHECK(!peer.removed && by_key_.erase(peer.public_key) == 1);
  peer.removed = true;
  free_slots_.push_back(peer.slot);
  removed_.push_back(std::move(slots_[peer.slot]));
}

Peer* PeerTable::Find(const PublicKey& key) const {
  const auto it = by_key_.find(key);
  return it == by_key_.end() ? nullptr : slots_[it->second].get();
}

}  // namespace im::tunnel
