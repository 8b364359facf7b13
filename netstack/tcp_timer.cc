#include "netstack/tcp_timer.h"

#include <algorithm>

#include "lwip/priv/tcp_priv.h"
#include "lwip/tcp.h"
#include "netstack/block_pool.h"
#include "netstack/net.h"
#include "netstack/tcp_recovery.h"
#include "netstack/tcp_segments.h"

namespace im::netstack {
namespace {

constexpr Duration kFast = std::chrono::milliseconds(TCP_FAST_INTERVAL);
constexpr Duration kSlow = std::chrono::milliseconds(TCP_SLOW_INTERVAL);

// After so long without traffic no blocks are kept.
constexpr Duration kQuietSpell = std::chrono::seconds(1);

constexpr auto kAbandonedTicks = static_cast<uint32_t>(kAbandonedTimeout / kSlow);

// lwIP takes 0 in some places for "no time".
constexpr uint32_t kFirstCoarse = 1;

bool NeedsTick(const tcp_pcb& pcb) {
  if ((pcb.flags & (TF_ACK_DELAY | TF_ACK_NOW | TF_CLOSEPEND)) != 0) return true;
  switch (pcb.state) {
    case SYN_SENT:  // tcp_connection.cc sends SYNs again
      return false;
    case ESTABLISHED:
    case CLOSE_WAIT:
      break;
    case FIN_WAIT_2:
      // Half closed for as long as the peer likes, or abandoned with a timeout.
      if ((pcb.flags & TF_RXCLOSED) != 0) return true;
      break;
    default:
      return true;
  }
  return pcb.unacked != nullptr || pcb.unsent != nullptr || pcb.ooseq != nullptr ||
         pcb.persist_backoff > 0 || ip_get_option(&pcb, SOF_KEEPALIVE);
}

}  // namespace

TcpTimer::TcpTimer(EventLoop& loop, PcbTable& pcbs)
    : loop_(loop), pcbs_(pcbs), epoch_(loop.now()) {
  SetCoarseClock();
}

void TcpTimer::SetCoarseClock() {
  tcp_ticks = kFirstCoarse + static_cast<uint32_t>((loop_.now() - epoch_) / kSlow);
  if (tcp_ticks == 0) tcp_ticks = kFirstCoarse;
}

void TcpTimer::Arm() {
  SetCoarseClock();
  if (fast_armed_) return;
  fast_armed_ = true;
  timer_ = loop_.After(kFast, [this] { Tick(); });
}

void TcpTimer::Tick() {
  ++ticks_;
  fast_armed_ = false;
  SetCoarseClock();
  tcp_fasttmr();
  if (tcp_ticks != last_coarse_) {
    last_coarse_ = tcp_ticks;
    --tcp_ticks;  // it counts by itself
    PrepareProbes();
    tcp_slowtmr();
    TcpRecovery::SendAllAtEndOfTurn();
  }
  const Duration next = NextTick();
  // Delayed ACKs and retransmissions may have armed the timer.
  if (fast_armed_) return;
  if (next == Duration::max()) {
    // What moves data all the time is quiet at many a tick.
    if (PooledBytes() > 0) trim_timer_ = loop_.After(kQuietSpell, [] { TrimBlocks(); });
    return;
  }
  fast_armed_ = next <= kFast;
  timer_ = loop_.After(next, [this] { Tick(); });
}

Duration TcpTimer::NextTick() {
  bool needed = false;
  for (tcp_pcb** at = &tcp_active_pcbs; *at != nullptr;) {
    if (((*at)->flags & TF_RXCLOSED) != 0 &&
        pcbs_.TicksWithoutProgress(**at) >= kAbandonedTicks) {
      tcp_abort(*at);  // which takes it out of the list
      continue;
    }
    const bool needs = NeedsTick(**at);
    needed |= needs;
    if (needs || !pcbs_.Park(at)) at = &(*at)->next;
  }
  if (needed) return kFast;
  if (tcp_tw_pcbs == nullptr) return Duration::max();
  TrimTimeWait(kTimeWaitMax);
  uint32_t age = 0;
  for (const tcp_pcb* pcb = tcp_tw_pcbs; pcb != nullptr; pcb = pcb->next)
    age = std::max(age, static_cast<uint32_t>(tcp_ticks - pcb->tmr));
  constexpr uint32_t kOver = 2 * TCP_MSL / TCP_SLOW_INTERVAL + 1;
  return kSlow * (age < kOver ? kOver - age : 1);
}

void TrimTimeWait(size_t keep) {
  // New ones come to the front.
  size_t n = 0;
  for (tcp_pcb* pcb = tcp_tw_pcbs; pcb != nullptr;) {
    tcp_pcb* next = pcb->next;
    if (++n > keep) tcp_abort(pcb);
    pcb = next;
  }
}

}  // namespace im::netstack
