#include "orchestrator/agent/readiness.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace im::agent {

using std::chrono::milliseconds;

Readiness::Readiness(const proto::Healthcheck* check, Delegate& delegate)
    : check_(check),
      delegate_(delegate),
      state_(check == nullptr ? State::kReady : State::kNotStarted) {}

std::string Readiness::Reason() const {
  if (ready()) return "";
  return last_failure_.empty() ? "its healthcheck has not succeeded yet"
                               : absl::StrCat("its healthcheck failed: ", last_failure_);
}

void Readiness::OnProgramStarted(Instant now) {
  if (state_ != State::kNotStarted) return;
  counts_at_ = now + milliseconds(check_->start_period_ms()) + milliseconds(check_->interval_ms());
  Test(now);
}

void Readiness::Test(Instant now) {
  state_ = State::kTesting;
  killed_ = false;
  deadline_ = now + milliseconds(check_->timeout_ms());
  delegate_.RunTest();
}

void Readiness::OnTimer(Instant now) {
  if (now < deadline_) return;
  deadline_ = kNever;
  if (state_ == State::kWaiting) return Test(now);
  killed_ = true;
  delegate_.KillTest();
}

Duration Readiness::NextGap() {
  const Duration interval = milliseconds(check_->interval_ms());
  if (check_->has_start_interval_ms())
    return std::min<Duration>(milliseconds(check_->start_interval_ms()), interval);
  const Duration gap = std::min(gap_, interval);
  gap_ = std::min(2 * gap_, kLastGap);
  return gap;
}

void Readiness::OnTestEnded(absl::string_view failure, Instant now) {
  if (state_ != State::kTesting) return;
  deadline_ = kNever;
  if (failure.empty() && !killed_) {
    state_ = State::kReady;
    return delegate_.OnReady();
  }
  last_failure_ = killed_ ? absl::StrCat("took longer than ", check_->timeout_ms() / 1000.0, "s")
                          : std::string(failure);
  if (now >= counts_at_) {
    ++failures_;
    counts_at_ = now + milliseconds(check_->interval_ms());
  }
  if (failures_ >= check_->retries()) {
    state_ = State::kOver;
    return delegate_.OnUnhealthy(absl::StrCat(Reason(), " (", failures_, " times that count)"));
  }
  state_ = State::kWaiting;
  deadline_ = now + NextGap();
}

void Readiness::Stop() {
  if (ready()) return;
  state_ = State::kOver;
  deadline_ = kNever;
}

}  // namespace im::agent
