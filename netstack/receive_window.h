// ReceiveWindow: how much a peer may send that was not read yet.
//
// A connection begins with kReceiveWindowFirst, which is enough inside a data
// centre, and inside a machine whose processors are busy. Over a longer path a
// window carries so much each round trip and no more. So what the program reads
// within one is measured, and the window kept at twice that (as Linux does:
// dynamic right-sizing): it doubles each round trip as long as it is what limits
// the peer, and no further. It never shrinks, since what was offered cannot be
// taken back.
//
// The round trip is taken to be the shortest time in which a whole window came:
// its last byte was sent after our word that the first was read. A peer that does
// not fill the window makes it seem longer, and the window no more than double.
//
// Numbers in, numbers out; bytes. A window is a permission, and costs nothing
// until a peer uses it; what all connections have beyond the first is bounded
// (kReceiveWindowsGrownMax).

#ifndef IM_NETSTACK_RECEIVE_WINDOW_H_
#define IM_NETSTACK_RECEIVE_WINDOW_H_

#include <cstdint>

#include "base/clock.h"

namespace im::netstack {

inline constexpr uint32_t kReceiveWindowFirst = 2 << 20;  // 10 Gb/s over 1.6 ms
// Of one connection: 3 Gb/s over 80 ms.
inline constexpr uint32_t kReceiveWindowMax = 32 << 20;
// Of all in the stack, in excess of their first ones. Beyond it none grows.
inline constexpr uint64_t kReceiveWindowsGrownMax = 256 << 20;

class ReceiveWindow {
 public:
  explicit ReceiveWindow(Instant now) : mark_at_(now), offered_at_(now) {}

  // `bytes` were read. Returns by how much the window is to grow, at most `most`.
  uint32_t OnRead(uint32_t bytes, uint64_t most, Instant now);

  uint32_t bytes() const { return window_; }

 private:
  uint32_t window_ = kReceiveWindowFirst;
  Duration rtt_ = Duration::max();
  // Since the mark so much was read; it is set anew each round trip.
  uint64_t read_ = 0;
  Instant mark_at_;
  // Since then a whole window is awaited, of which this is left.
  int64_t offered_left_ = kReceiveWindowFirst;
  Instant offered_at_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_RECEIVE_WINDOW_H_
