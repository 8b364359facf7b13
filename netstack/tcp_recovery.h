// TcpRecovery: LossRecovery for one lwIP pcb, from without.
//
// It hears of each segment that lwIP sends (LWIP_HOOK_TCP_OUT_ADD_TCPOPTS) and
// of each acknowledgment before lwIP does (LWIP_HOOK_TCP_INPACKET_PCB). At the
// end of the turn it moves what is lost from lwIP's queue of sent segments to
// that of unsent ones, as lwIP's own retransmission does, and has lwIP send.
//
// lwIP measures what it may send from the last acknowledged byte on, delivered
// or not. So its window is widened by what is not under way, and set back
// before lwIP adjusts it by an acknowledgment.
//
// lwIP's own mechanisms stay behind it: duplicate ACKs are kept from being
// counted, and its timer is set to several of our timeouts. Should that
// expire, lwIP sends all again, and we start anew.
//
// It belongs to the pcb, not to the program's connection: what a program has
// written and left behind is recovered too. Only peers that send SACK have it.

#ifndef IM_NETSTACK_TCP_RECOVERY_H_
#define IM_NETSTACK_TCP_RECOVERY_H_

#include <cstdint>
#include <span>

#include "base/event_loop.h"
#include "lwip/tcp.h"
#include "netstack/core.h"
#include "netstack/loss_recovery.h"

struct tcp_hdr;

namespace im::netstack {

class TcpRecovery final : public Core::Member {
 public:
  // For a pcb that was just established, if its peer sends SACK. Ends with it.
  static void Attach(Core& core, tcp_pcb* pcb);
  // The pcb's, or nullptr.
  static TcpRecovery* Of(const tcp_pcb& pcb);

  // A segment with data or FIN leaves; `size` counts both.
  void OnSent(uint32_t sequence, uint32_t size);
  // An acknowledgment is about to be processed by lwIP. `options` are well-formed.
  void OnAcknowledgment(uint32_t acknowledged, std::span<const uint8_t> options);

  // lwIP may have left a part of a large segment behind that could be sent.
  void SendAtEndOfTurn();
  // After lwIP's timers: the same, for all connections.
  static void SendAllAtEndOfTurn();

  const LossRecovery& recovery() const { return recovery_; }
  uint64_t retransmitted_bytes() const { return retransmitted_bytes_; }

 private:
  TcpRecovery(Core& core, tcp_pcb* pcb);

  void RunDeferred() override { Run(/*timer=*/false); }
  void OnStackGone() override { timer_.Reset(); }
  void Run(bool timer);
  // Puts what is lost in the way of lwIP's next output, as far as it may go.
  void QueueLost(uint32_t bytes);
  // Of the lost bytes [begin, end), those not queued yet, from `*from` on, which
  // is moved on. Returns how many.
  uint32_t QueueRange(uint32_t begin, uint32_t end, tcp_seg**& from);
  // Sends new data beyond the window, or the last segment again.
  void Probe();
  void Requeue(tcp_seg** from);
  void Widen(uint32_t bytes);
  void SetBack();
  void SetLwipTimer();
  void ArmTimer();

  tcp_pcb* pcb_;
  LossRecovery recovery_;
  uint32_t widened_ = 0;  // lwIP's window, by so many bytes
  uint32_t sent_end_;     // of all that was ever sent
  uint64_t retransmitted_bytes_ = 0;
  EventLoop::Timer timer_;
  Instant timer_at_ = kNever;  // no later than the deadline
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_TCP_RECOVERY_H_
