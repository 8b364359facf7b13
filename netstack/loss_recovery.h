// LossRecovery: what to send again, and how much may be under way meanwhile.
//
// lwIP by itself answers a loss as TCP did in 1990: three duplicate ACKs bring
// back one segment a round trip, then a timeout of many ticks sends the whole
// window again. This is what a sender knows today:
//
//  - what is lost is told by time and SACK (RACK, RFC 8985): a segment is lost
//    when one sent later was delivered and the order can no longer explain it;
//  - all that is lost is sent again at once, as far as the window allows, which
//    shrinks along with the deliveries (PRR, RFC 6937), not by a stop;
//  - what was lost only in appearance, and came late, costs nothing: the window
//    is put back when the late segment is seen to have been the first sending;
//  - a tail that nothing follows is probed after two round trips (TLP, RFC 8985
//    7), but not sooner than a peer may need to be given its processor;
//  - timeouts follow a round trip measured by the clock (RFC 6298), not by ticks.
//
//   state     entered by                 congestion window            left when
//   open      -                          lwIP's slow start, then      a loss
//                                        CUBIC (cubic.h)
//   recovery  a segment found lost       PRR, towards the threshold   all that was sent
//   loss      the retransmission timer   one segment, then lwIP's       before it is
//                                        slow start                     acknowledged
//
// No IO, no clock, no lwIP: numbers in, decisions out (tcp_recovery.h joins
// the two). The peer may acknowledge what it likes; SackScoreboard bounds it.

#ifndef IM_NETSTACK_LOSS_RECOVERY_H_
#define IM_NETSTACK_LOSS_RECOVERY_H_

#include <cstdint>
#include <optional>
#include <span>

#include "base/clock.h"
#include "netstack/cubic.h"
#include "netstack/sack_scoreboard.h"

namespace im::netstack {

// Bounds of the retransmission timer: the least is Linux's, and covers the ACK
// delay of any peer. Before the first round trip it is kTimeoutFirst.
inline constexpr Duration kRetransmitTimeoutMin = std::chrono::milliseconds(200);
inline constexpr Duration kRetransmitTimeoutFirst = std::chrono::seconds(1);
inline constexpr Duration kRetransmitTimeoutMax = std::chrono::seconds(60);

// How long a peer may keep the ACK of a single segment (lwIP 50 ms, Linux 40).
inline constexpr Duration kAckDelayMax = std::chrono::milliseconds(50);

// The tail of a flight is not probed sooner. Inside a machine two round trips are
// some hundred microseconds, and a peer that waits for its processor is silent for
// milliseconds; Linux takes two of its ticks, which are 2 to 20 ms.
inline constexpr Duration kProbeTimeoutMin = std::chrono::milliseconds(5);

class LossRecovery {
 public:
  enum class State { kOpen, kRecovery, kLoss };

  // lwIP's congestion control; bytes.
  struct Window {
    uint32_t congestion = 0;
    uint32_t threshold = 0;  // of slow start
  };

  // All before `acknowledged` is.
  explicit LossRecovery(uint32_t acknowledged) : acknowledged_(acknowledged) {}

  void OnSent(uint32_t begin, uint32_t end, Instant now);
  // The window when `bytes` are about to be acknowledged. `limited`: it, and
  // not the program or the peer, is what keeps more from being sent.
  void Grow(Window& window, uint32_t bytes, bool limited, uint32_t segment_bytes, Instant now);
  // An ACK of what was sent: all before `acknowledged`, and the blocks.
  void OnAcknowledged(uint32_t acknowledged, std::span<const SackBlock> blocks, Instant now);

  // To be called after acknowledgments, and when Deadline() has come (`timer`).
  // Finds losses and sets the window. `segment_bytes`: the largest that is sent;
  // `next`: the sequence number that new data would have.
  enum class Action { kNone, kProbe, kTimeout };
  Action Update(Window& window, uint32_t segment_bytes, uint32_t next, bool timer, Instant now);

  // Bytes that may be sent beyond what is under way, after Update().
  uint32_t BytesToSend(const Window& window) const;

  // When Update is to be called at the latest; kNever if nothing is in flight.
  Instant Deadline() const;

  // Forgets what is lost or sacked; somebody else sends all of it again.
  void Reset();

  const SackScoreboard& scoreboard() const { return scoreboard_; }
  State state() const { return state_; }
  // With the back-off of timeouts so far.
  Duration Timeout() const;
  std::optional<Duration> smoothed_rtt() const { return smoothed_rtt_; }
  // Duration::max() before the first.
  Duration rtt_min() const { return rtt_min_; }
  Duration rtt_variance() const { return rtt_variance_; }
  // Something is to be done in Update, besides waiting.
  bool busy() const {
    return state_ != State::kOpen || scoreboard_.sacked_bytes() > 0 || scoreboard_.lost_bytes() > 0;
  }

 private:
  void Measure(Duration rtt);
  Duration ReorderWindow() const;
  Duration ProbeTimeout() const;
  void DetectLosses(Instant now);
  void EnterRecovery(Window& window, uint32_t segment_bytes, uint32_t next);
  void Proportion(Window& window, uint32_t segment_bytes);
  void OnTimeout(Window& window, uint32_t segment_bytes, uint32_t next, Instant now);

  SackScoreboard scoreboard_;
  Cubic cubic_;
  State state_ = State::kOpen;
  uint32_t acknowledged_;
  uint32_t segment_bytes_ = 0;  // the largest that is sent, once known
  uint32_t recovery_end_ = 0;  // the state ends when this is acknowledged

  std::optional<Duration> smoothed_rtt_;
  Duration rtt_variance_{0};
  Duration rtt_min_ = Duration::max();
  Duration rtt_youngest_{0};  // of the youngest segment that was delivered
  Instant youngest_sent_at_ = kNever;
  uint32_t youngest_end_ = 0;
  bool reordering_ = false;  // was seen on this path
  Instant reorder_deadline_ = kNever;

  // PRR: since recovery began.
  uint32_t delivered_ = 0;       // since the last Update
  uint32_t prr_delivered_ = 0;
  uint32_t prr_sent_ = 0;
  uint32_t prr_flight_ = 1;      // under way when it began

  // To undo it when nothing was lost: what there was before, and how much was
  // taken for lost since, rightly or not.
  Window before_;
  Cubic cubic_before_;
  uint32_t presumed_lost_ = 0;
  uint32_t came_late_ = 0;

  Instant timer_base_;  // of the retransmission timer and the probe
  bool probed_ = false;
  uint32_t timeouts_ = 0;  // without any delivery since
};

}  // namespace im::netstack

#endif  // IM_NETSTACK_LOSS_RECOVERY_H_
