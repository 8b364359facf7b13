#include "netstack/loss_recovery.h"

#include <algorithm>

namespace im::netstack {
namespace {

// Segments sacked, or as many bytes, at which the order of arrival is no longer given the benefit
// of the doubt, on a path that was not seen to reorder (RFC 5681).
constexpr uint32_t kDuplicateThreshold = 3;

// A path that reorders is given this part of its round trip (RFC 8985 6.2).
constexpr int kReorderFraction = 4;

// The timeout doubles at most so many times.
constexpr uint32_t kTimeoutDoublingsMax = 8;

}  // namespace

void LossRecovery::OnSent(uint32_t begin, uint32_t end, Instant now) {
  if (scoreboard_.empty()) timer_base_ = now;
  if (state_ == State::kRecovery) prr_sent_ += end - begin;
  scoreboard_.OnSent(begin, end, now);
}

void LossRecovery::Grow(Window& window, uint32_t bytes, bool limited, uint32_t segment_bytes,
                        Instant now) {
  segment_bytes_ = segment_bytes;
  if (!limited) {
    cubic_.OnIdle();
  } else if (state_ == State::kOpen && bytes > 0 && window.congestion >= window.threshold &&
             window.congestion >= segment_bytes && smoothed_rtt_.has_value()) {
    window.congestion =
        cubic_.OnAcknowledged(window.congestion, bytes, segment_bytes, *smoothed_rtt_, now);
  }
}

void LossRecovery::OnAcknowledged(uint32_t acknowledged, std::span<const SackBlock> blocks,
                                  Instant now) {
  const Duration rtt_min = rtt_min_ == Duration::max() ? Duration::zero() : rtt_min_;
  const SackScoreboard::Delivery delivery =
      scoreboard_.OnAcknowledged(acknowledged, blocks, rtt_min, now);
  acknowledged_ = acknowledged;
  if (delivery.bytes == 0) return;
  delivered_ += delivery.bytes;
  timer_base_ = now;
  probed_ = false;
  timeouts_ = 0;
  if (delivery.reordered) reordering_ = true;
  came_late_ += delivery.late_bytes;
  if (delivery.rtt.has_value()) Measure(*delivery.rtt);
  if (delivery.sent_at == kNever) return;
  rtt_youngest_ = now - delivery.sent_at;
  const bool younger =
      youngest_sent_at_ == kNever || delivery.sent_at > youngest_sent_at_ ||
      (delivery.sent_at == youngest_sent_at_ && SequenceBefore(youngest_end_, delivery.end));
  if (!younger) return;
  youngest_sent_at_ = delivery.sent_at;
  youngest_end_ = delivery.end;
}

// RFC 6298 2.
void LossRecovery::Measure(Duration rtt) {
  rtt_min_ = std::min(rtt_min_, rtt);
  if (!smoothed_rtt_.has_value()) {
    smoothed_rtt_ = rtt;
    rtt_variance_ = rtt / 2;
    return;
  }
  const Duration off = rtt > *smoothed_rtt_ ? rtt - *smoothed_rtt_ : *smoothed_rtt_ - rtt;
  rtt_variance_ += (off - rtt_variance_) / 4;
  *smoothed_rtt_ += (rtt - *smoothed_rtt_) / 8;
}

Duration LossRecovery::Timeout() const {
  const Duration once = smoothed_rtt_.has_value()
                            ? *smoothed_rtt_ + std::max(4 * rtt_variance_, kRetransmitTimeoutMin)
                            : kRetransmitTimeoutFirst;
  const uint32_t doublings = std::min(timeouts_, kTimeoutDoublingsMax);
  return std::min(once * (1 << doublings), kRetransmitTimeoutMax);
}

Duration LossRecovery::ProbeTimeout() const {
  const bool single = scoreboard_.segments().size() == 1 &&
                      (segment_bytes_ == 0 || scoreboard_.outstanding_bytes() <= segment_bytes_);
  return std::max(2 * *smoothed_rtt_, kProbeTimeoutMin) +
         (single ? kAckDelayMax : Duration::zero());
}

Duration LossRecovery::ReorderWindow() const {
  const bool few = scoreboard_.sacked_segments() < kDuplicateThreshold &&
                   scoreboard_.sacked_bytes() < kDuplicateThreshold * segment_bytes_;
  const bool doubt = reordering_ || (state_ == State::kOpen && few);
  if (!doubt || rtt_min_ == Duration::max()) return Duration::zero();
  return rtt_min_ / kReorderFraction;
}

Instant LossRecovery::Deadline() const {
  if (scoreboard_.empty()) return kNever;
  const bool probe = state_ == State::kOpen && !probed_ && smoothed_rtt_.has_value() &&
                     scoreboard_.sacked_bytes() == 0;
  const Duration wait = probe ? std::min(ProbeTimeout(), Timeout()) : Timeout();
  return std::min(reorder_deadline_, timer_base_ + wait);
}

void LossRecovery::DetectLosses(Instant now) {
  reorder_deadline_ = kNever;
  if (youngest_sent_at_ == kNever || scoreboard_.empty()) return;
  const SackScoreboard::Losses losses = scoreboard_.DetectLosses(
      youngest_sent_at_, youngest_end_, rtt_youngest_ + ReorderWindow(), now);
  presumed_lost_ += losses.bytes;
  reorder_deadline_ = losses.next;
}

LossRecovery::Action LossRecovery::Update(Window& window, uint32_t segment_bytes, uint32_t next,
                                          bool timer, Instant now) {
  segment_bytes_ = segment_bytes;
  if (state_ == State::kRecovery && came_late_ >= presumed_lost_) {
    window = before_;
    cubic_ = cubic_before_;
    state_ = State::kOpen;
  }
  if (state_ != State::kOpen && !SequenceBefore(acknowledged_, recovery_end_)) {
    if (state_ == State::kRecovery) window.congestion = window.threshold;
    state_ = State::kOpen;
  }
  Action action = Action::kNone;
  const bool due = timer && now >= Deadline() && now < reorder_deadline_;
  if (due && now >= timer_base_ + Timeout()) {
    OnTimeout(window, segment_bytes, next, now);
    action = Action::kTimeout;
  } else if (due) {
    probed_ = true;
    timer_base_ = now;
    action = Action::kProbe;
  } else {
    DetectLosses(now);
  }
  if (state_ == State::kOpen && scoreboard_.lost_bytes() > 0)
    EnterRecovery(window, segment_bytes, next);
  if (state_ == State::kRecovery) Proportion(window, segment_bytes);
  delivered_ = 0;
  return action;
}

void LossRecovery::EnterRecovery(Window& window, uint32_t segment_bytes, uint32_t next) {
  state_ = State::kRecovery;
  recovery_end_ = next;
  prr_flight_ = std::max(scoreboard_.pipe_bytes() + scoreboard_.lost_bytes() + delivered_, 1u);
  prr_delivered_ = prr_sent_ = 0;
  before_ = window;
  cubic_before_ = cubic_;
  presumed_lost_ = scoreboard_.lost_bytes();
  came_late_ = 0;
  window.threshold = cubic_.OnLoss(window.congestion, segment_bytes);
}

// RFC 6937 3.1, with the slow start reduction bound.
void LossRecovery::Proportion(Window& window, uint32_t segment_bytes) {
  prr_delivered_ += delivered_;
  const uint32_t pipe = scoreboard_.pipe_bytes();
  uint64_t allowed = 0;  // to be sent, since recovery began
  if (pipe > window.threshold) {
    allowed = (uint64_t{prr_delivered_} * window.threshold + prr_flight_ - 1) / prr_flight_;
  } else {
    const uint64_t caught_up = std::max<uint64_t>(prr_delivered_, uint64_t{prr_sent_} + delivered_);
    allowed = std::min<uint64_t>(caught_up + segment_bytes,
                                 uint64_t{prr_sent_} + window.threshold - pipe);
  }
  uint64_t more = allowed > prr_sent_ ? allowed - prr_sent_ : 0;
  if (prr_sent_ == 0) more = std::max<uint64_t>(more, segment_bytes);  // the first, at once
  window.congestion = pipe + static_cast<uint32_t>(more);
}

void LossRecovery::OnTimeout(Window& window, uint32_t segment_bytes, uint32_t next, Instant now) {
  // The first of a row is one loss; the others tell nothing new.
  if (state_ != State::kLoss) window.threshold = cubic_.OnLoss(window.congestion, segment_bytes);
  window.congestion = segment_bytes;
  state_ = State::kLoss;
  recovery_end_ = next;
  scoreboard_.MarkAllLost();
  youngest_sent_at_ = kNever;
  reorder_deadline_ = kNever;
  timer_base_ = now;
  probed_ = true;
  ++timeouts_;
}

uint32_t LossRecovery::BytesToSend(const Window& window) const {
  const uint32_t pipe = scoreboard_.pipe_bytes();
  return window.congestion > pipe ? window.congestion - pipe : 0;
}

void LossRecovery::Reset() {
  scoreboard_.Clear();
  state_ = State::kOpen;
  youngest_sent_at_ = kNever;
  reorder_deadline_ = kNever;
}

}  // namespace im::netstack
