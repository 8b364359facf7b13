// TAI64N labels ([W] 5.4: timestamps) that never go back.

#ifndef IM_TUNNEL_TAI64N_H_
#define IM_TUNNEL_TAI64N_H_

#include <array>
#include <compare>
#include <cstdint>
#include <span>

#include "tunnel/message.h"

namespace im::tunnel {

// Compares as time does: the label is big-endian.
struct Tai64n {
  std::array<uint8_t, kTimestampBytes> bytes{};

  static Tai64n FromUnixNanos(int64_t unix_nanos);
  friend auto operator<=>(const Tai64n&, const Tai64n&) = default;
};

// Stamps for initiations. The peer takes none that is not later than the last,
// so a wall clock that was set back must not show. Coarse, so that they tell
// nobody our exact time.
//
// A stamp is the greatest of: the wall clock, any clock reading before, and the
// nanosecond after the peer's own last stamp. So stamps do not run ahead of the
// clock, which a restart with the same key would pay for.
class StampSource {
 public:
  // `last` is the peer's last stamp in nanoseconds, 0 for none, and is moved.
  Tai64n Next(int64_t unix_nanos, int64_t& last);
  // The peer with this last stamp is forgotten and may come back.
  void Forget(int64_t last);

 private:
  int64_t floor_ = 0;  // nanoseconds
};

}  // namespace im::tunnel

#endif  // IM_TUNNEL_TAI64N_H_
