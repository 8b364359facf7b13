// Cubic: how the congestion window grows between losses (RFC 9438).
//
// lwIP adds one segment a round trip, which over a long path takes minutes to
// regain what one loss took. CUBIC grows by the clock instead: fast towards
// the window at which the last loss came, slowly near it, then fast again; and
// never slower than the former would on average.
//
// Numbers in, numbers out; bytes. Slow start is lwIP's.

#ifndef IM_NETSTACK_CUBIC_H_
#define IM_NETSTACK_CUBIC_H_

#include <cstdint>

#include "base/clock.h"

namespace im::netstack {

class Cubic {
 public:
  // A loss was found at this window; returns what it is to become.
  uint32_t OnLoss(uint32_t window, uint32_t segment_bytes);

  // `bytes` were acknowledged while the window limited the sender, out of slow
  // start; returns the new window. Preconditions: window >= segment_bytes > 0.
  uint32_t OnAcknowledged(uint32_t window, uint32_t bytes, uint32_t segment_bytes, Duration rtt,
                          Instant now);

  // The sender paused: time that passed does not count.
  void OnIdle() { epoch_ = kNever; }

 private:
  double last_max_ = 0;   // segments; the window at the last loss
  Instant epoch_ = kNever;  // when growth began anew
  double period_s_ = 0;   // from then on until last_max_ is reached
  double origin_ = 0;     // segments; the plateau
  double reno_ = 0;       // segments; the window of the friendly region
  double fraction_ = 0;   // bytes of growth that are no whole byte yet
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_CUBIC_H_
