// SynTimer: when the SYN of a connection that is being dialled is sent again,
// and when the attempt is over.
//
// lwIP gives a SYN twelve tries at one interval. Here it is sent again after
// 1, 2, 4, then every 8 s until the timeout; lwIP's own timer is set beyond
// reach until the connection is up.

#ifndef IM_NETSTACK_SYN_TIMER_H_
#define IM_NETSTACK_SYN_TIMER_H_

#include <functional>

#include "base/event_loop.h"
#include "lwip/tcp.h"

namespace im::netstack {

class Core;

class SynTimer {
 public:
  // `pcb` has sent its first SYN, and stays in SYN_SENT while the timer lives.
  // `on_timeout` may destroy the timer.
  SynTimer(Core& core, tcp_pcb* pcb, Duration timeout, std::function<void()> on_timeout);

  // Gives the retransmission timer of an established pcb back to lwIP.
  static void HandBack(tcp_pcb* pcb);

 private:
  void Arm();
  void OnTimer();

  Core& core_;
  tcp_pcb* const pcb_;
  const std::function<void()> on_timeout_;
  const Instant deadline_;
  Duration interval_;
  EventLoop::Timer timer_;
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_SYN_TIMER_H_
