#include "tunnel/index_table.h"

#include "base/check.h"

namespace im::tunnel {

uint32_t IndexTable::Take(uint32_t peer_slot, Random& random) {
  // At most three sessions and a handshake a peer are in use: four billion
  // indices are as good as empty, and a second draw is rare.
  while (true) {
    const uint32_t index = random.Uint32();
    if (entries_.try_emplace(index, Entry{peer_slot, nullptr}).second) return index;
  }
}

void IndexTable::SetSession(uint32_t index, Session* session) {
  const auto it = entries_.find(index);
  IM_CHECK(it != entries_.end());
  it->second.session = session;
}

void IndexTable::Release(uint32_t index) { IM_CHECK(entries_.erase(index) == 1); }

const IndexTable::Entry* IndexTable::Find(uint32_t index) const {
  const auto it = entries_.find(index);
  return it == entries_.end() ? nullptr : &it->second;
}

}  // namespace im::tunnel
