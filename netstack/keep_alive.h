// KeepAliveTimer: asks a quiet peer whether it is still there (RFC 1122
// 4.2.3.6, RFC 9293 3.8.4).
//
// lwIP has keepalive, driven by its coarse tick: one connection with it would
// wake the process twenty times a second. This is one timer of the loop for
// each connection that wants it, due when the next probe may be.
//
//   heard nothing for `idle`                probe, next look after `interval`
//   any segment came since                  next look `idle` after that
//   `probes` in a row without an answer     on_dead
//   data is under way                       retransmission watches; look later

#ifndef IM_NETSTACK_KEEP_ALIVE_H_
#define IM_NETSTACK_KEEP_ALIVE_H_

#include <functional>

#include "base/event_loop.h"
#include "lwip/tcp.h"
#include "netstack/core.h"
#include "netstack/net.h"

namespace im::netstack {

class KeepAliveTimer {
 public:
  // `pcb` lives as long as the timer. `on_dead` may destroy the timer.
  KeepAliveTimer(Core& core, tcp_pcb* pcb, const KeepAlive& options,
                 std::function<void()> on_dead);

 private:
  void Arm(Duration after);
  void OnTimer();
  void Probe();

  Core& core_;
  tcp_pcb* const pcb_;
  const KeepAlive options_;
  const std::function<void()> on_dead_;
  EventLoop::Timer timer_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_KEEP_ALIVE_H_
