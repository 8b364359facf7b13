#include "netstack/syn_timer.h"

#include <algorithm>
#include <utility>

#include "lwip/priv/tcp_priv.h"
#include "netstack/core.h"

namespace im::netstack {
namespace {

// The first interval (RFC 6298 2.1) and the longest. Linux goes on doubling; a
// program should not be kept waiting for long by a host that has started.
constexpr Duration kIntervalFirst = std::chrono::seconds(1);
constexpr Duration kIntervalMax = std::chrono::seconds(8);

// More coarse ticks than lwIP's retransmission counter can reach.
constexpr s16_t kRtoNever = 0x7fff;

Instant After(Instant now, Duration delay) {
  return delay >= kNever - now ? kNever : now + delay;
}

}  // namespace

SynTimer::SynTimer(Core& core, tcp_pcb* pcb, Duration timeout, std::function<void()> on_timeout)
    : core_(core),
      pcb_(pcb),
      on_timeout_(std::move(on_timeout)),
      deadline_(After(core.loop().now(), timeout)),
      interval_(kIntervalFirst) {
  pcb_->rto = kRtoNever;
  Arm();
}

void SynTimer::Arm() {
  const Instant next = std::min(core_.loop().now() + interval_, deadline_);
  interval_ = std::min(interval_ * 2, kIntervalMax);
  timer_ = core_.loop().At(next, [this] { OnTimer(); });
}

void SynTimer::OnTimer() {
  if (core_.loop().now() >= deadline_) {
    const std::function<void()> on_timeout = on_timeout_;
    on_timeout();
    return;
  }
  core_.Enter(*pcb_);
  pcb_->rtime = 0;
  tcp_rexmit_rto(pcb_);
  pcb_->nrtx = 0;  // lwIP counts tries; we count time
  Arm();
}

void SynTimer::HandBack(tcp_pcb* pcb) {
  // The SYN's round trip, which may hold the start of a host, must not become
  // the estimate for data; and lwIP would go on measuring until the first ACK
  // of data, however late.
  pcb->rto = LWIP_TCP_RTO_TIME / TCP_SLOW_INTERVAL;
  pcb->nrtx = 0;
  pcb->rttest = 0;
}

}  // namespace im::netstack
