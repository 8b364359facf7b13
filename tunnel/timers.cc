#include "tunnel/timers.h"

#include <algorithm>

namespace im::tunnel {

Duration PeerTimers::Jitter(Random& random) const {
  return Duration(random.Below(static_cast<uint64_t>(times_->jitter_max.count()) + 1));
}

void PeerTimers::OnInitiationSent(Instant now, Random& random) {
  ++attempts_;
  Set(PeerTimer::kRetransmit, now + times_->rekey_timeout + Jitter(random));
}

bool PeerTimers::attempt_exhausted() const {
  return times_->rekey_timeout * attempts_ >= times_->rekey_attempt;
}

void PeerTimers::OnHandshakeComplete() {
  attempts_ = 0;
  silence_jitter_.reset();
  Clear(PeerTimer::kRetransmit);
}

void PeerTimers::OnSessionMade(Instant now) {
  Set(PeerTimer::kZeroKeys, now + 3 * times_->reject_after);
}

void PeerTimers::OnDataSent(Instant now, Random& random) {
  if (pending(PeerTimer::kNewHandshake)) return;
  // Drawn once in a session: questions and answers set and clear this all the time.
  if (!silence_jitter_) silence_jitter_ = Jitter(random);
  Set(PeerTimer::kNewHandshake,
      now + times_->keepalive_timeout + times_->rekey_timeout + *silence_jitter_);
}

void PeerTimers::OnDataReceived(Instant now) {
  // From the first data that is not answered; one answer covers all of it.
  if (pending(PeerTimer::kKeepalive)) return;
  Set(PeerTimer::kKeepalive, now + times_->keepalive_timeout);
}

void PeerTimers::OnAuthenticSent(Instant now) {
  Clear(PeerTimer::kKeepalive);
  if (persistent_interval_ > Duration(0)) Set(PeerTimer::kPersistent, now + persistent_interval_);
}

void PeerTimers::OnAuthenticReceived(Instant now) {
  Clear(PeerTimer::kNewHandshake);
  if (persistent_interval_ > Duration(0)) Set(PeerTimer::kPersistent, now + persistent_interval_);
}

void PeerTimers::OnGivenUp(Instant now) {
  attempts_ = 0;
  Clear(PeerTimer::kRetransmit);
  Clear(PeerTimer::kKeepalive);
  Clear(PeerTimer::kSessionExpiry);
  if (!pending(PeerTimer::kZeroKeys)) OnSessionMade(now);
}

void PeerTimers::SetPersistentKeepalive(Duration interval, Instant now) {
  persistent_interval_ = interval;
  Set(PeerTimer::kPersistent, interval > Duration(0) ? now + interval : kNever);
}

void PeerTimers::Reset() {
  at_.fill(kNever);
  attempts_ = 0;
}

Instant PeerTimers::next() const { return *std::min_element(at_.begin(), at_.end()); }

std::optional<PeerTimer> PeerTimers::PopDue(Instant now) {
  const auto earliest = std::min_element(at_.begin(), at_.end());
  if (*earliest > now) return std::nullopt;
  *earliest = kNever;
  return static_cast<PeerTimer>(earliest - at_.begin());
}

}  // namespace im::tunnel
