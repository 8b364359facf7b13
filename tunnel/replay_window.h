// Which counters of a session have been seen: the sliding bitmap of RFC 6479,
// a ring of words of which whole words are cleared as the window advances.

#ifndef IM_TUNNEL_REPLAY_WINDOW_H_
#define IM_TUNNEL_REPLAY_WINDOW_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "tunnel/constants.h"

namespace im::tunnel {

class ReplayWindow {
 public:
  // False if the counter was accepted before or is too old to say. No change:
  // worth asking before a message is opened, never instead of Accept.
  bool MayAccept(uint64_t counter) const;
  // Marks the counter as seen. False as above. Only for authentic messages.
  bool Accept(uint64_t counter);

 private:
  static constexpr size_t kWordBits = 64;
  // One word more than the window, since the newest one is partly ahead of it.
  static constexpr size_t kWords = kReplayWindowBits / kWordBits + 1;

  bool TooOld(uint64_t counter) const {
    return counter < greatest_ && greatest_ - counter >= kReplayWindowBits;
  }

  uint64_t greatest_ = 0;  // seen, or 0
  std::array<uint64_t, kWords> words_{};
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_REPLAY_WINDOW_H_
