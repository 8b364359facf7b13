// TcpTimer: lwIP's TCP timers, run only while something waits for them.
//
// lwIP wants a fine tick (delayed ACKs) each TCP_FAST_INTERVAL and a coarse
// one (retransmission, persist, TIME_WAIT) each TCP_SLOW_INTERVAL for as long
// as any connection exists. Most connections here are open and quiet, and a
// quiet process must sleep. So after each tick all connections are looked at:
//
//  - one has unacknowledged or unsent data, out-of-order segments, a delayed
//    ACK, or is being closed: the next tick comes in TCP_FAST_INTERVAL; all
//    others are parked (pcb_table.h), so that only those are looked at again;
//  - else, if some are in TIME_WAIT: when the first of them is over;
//  - else never; any use of the stack (Arm) starts the ticks again.
//
// A connection that its program has let go of, and whose peer takes nothing more,
// ends here (kAbandonedTimeout); lwIP would probe a closed window for ever.
//
// lwIP's coarse clock `tcp_ticks` is set from the loop's clock, so that it
// does not stand still while there are no ticks. After a long stop of the
// process there is one tick, not all that were missed.

#ifndef IM_NETSTACK_TCP_TIMER_H_
#define IM_NETSTACK_TCP_TIMER_H_

#include <cstddef>
#include <cstdint>

#include "base/event_loop.h"
#include "netstack/pcb_table.h"

namespace im::netstack {

// Connections kept in TIME_WAIT. Beyond it the oldest are forgotten: lwIP
// walks the list for each new connection, and sequence numbers that follow
// the clock (RFC 6528) make an early reuse safe.
inline constexpr size_t kTimeWaitMax = 1024;

class TcpTimer {
 public:
  TcpTimer(EventLoop& loop, PcbTable& pcbs);

  // To be called before anything is done with lwIP: sets its coarse clock, and
  // has the connections looked at soon.
  void Arm();

  // Ticks so far, for tests.
  uint64_t ticks() const { return ticks_; }

 private:
  void Tick();
  void SetCoarseClock();
  // Until the next tick; Duration::max() if none is needed. Parks the quiet, and
  // ends the abandoned whose time is over.
  Duration NextTick();

  EventLoop& loop_;
  PcbTable& pcbs_;
  Instant epoch_;
  EventLoop::Timer timer_;
  EventLoop::Timer trim_timer_;  // block_pool.h
  bool fast_armed_ = false;
  uint32_t last_coarse_ = 0;
  uint64_t ticks_ = 0;
};

// Forgets TIME_WAIT connections, the oldest first, until `keep` are left.
void TrimTimeWait(size_t keep);

}  // namespace im::netstack

#endif  // IM_NETSTACK_TCP_TIMER_H_
