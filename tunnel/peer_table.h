// PeerTable: peers by public key and by slot, a small number that other tables
// use. A removed peer lives on, marked, until Bury(), since a delegate may
// remove one while it is being worked on.

#ifndef IM_TUNNEL_PEER_TABLE_H_
#define IM_TUNNEL_PEER_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "tunnel/peer.h"

namespace im::tunnel {

class PeerTable {
 public:
  // Preconditions: Find(key) is null.
  Peer& Add(const PublicKey& key, const ProtocolTimes& times);
  // Marks the peer as removed; its slot may be taken at once.
  void Remove(Peer& peer);
  void Bury() { removed_.clear(); }

  Peer* Find(const PublicKey& key) const;
  // Null for a slot that nobody has.
  Peer* At(uint32_t slot) const { return slot < slots_.size() ? slots_[slot].get() : nullptr; }
  size_t size() const { return by_key_.size(); }

  // In order of slots. `visit` may remove the peer, but add none.
  template <typename Visit>
  void ForEach(const Visit& visit) const {
    for (const std::unique_ptr<Peer>& peer : slots_)
      if (peer != nullptr) visit(*peer);
  }

 private:
  std::vector<std::unique_ptr<Peer>> slots_;
  std::vector<uint32_t> free_slots_;
  absl::flat_hash_map<PublicKey, uint32_t> by_key_;
  std::vector<std::unique_ptr<Peer>> removed_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_PEER_TABLE_H_
