// Our session indices: random, so that they tell nothing, and unique, so that
// a message finds its session or handshake with one look ([W] 5.4.2).

#ifndef IM_TUNNEL_INDEX_TABLE_H_
#define IM_TUNNEL_INDEX_TABLE_H_

#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "base/random.h"
#include "tunnel/session.h"

namespace im::tunnel {

class IndexTable {
 public:
  struct Entry {
    uint32_t peer_slot = 0;
    Session* session = nullptr;  // null: a handshake that we initiated
  };

  // A free index for a handshake or session of the peer, taken at once.
  uint32_t Take(uint32_t peer_slot, Random& random);
  // Preconditions: the index is taken.
  void SetSession(uint32_t index, Session* session);
  void Release(uint32_t index);
  // Null if nobody has it. Valid until the next change of the table.
  const Entry* Find(uint32_t index) const;
  size_t size() const { return entries_.size(); }

 private:
  absl::flat_hash_map<uint32_t, Entry> entries_;
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_INDEX_TABLE_H_
