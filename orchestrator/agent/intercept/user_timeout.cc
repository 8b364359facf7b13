#include "orchestrator/agent/intercept/user_timeout.h"

namespace im::agent {

void UserTimeout::OnWritten() {
  if (armed_) return;
  acknowledged_ = look_().acknowledged;
  since_ = loop_.now();
  Arm();
}

void UserTimeout::Arm() {
  armed_ = true;
  timer_ = loop_.After(timeout_ / kUserTimeoutLooks, [this] { OnTimer(); });
}

void UserTimeout::OnTimer() {
  armed_ = false;
  const Progress progress = look_();
  if (!progress.pending) return;
  if (progress.acknowledged != acknowledged_) {
    acknowledged_ = progress.acknowledged;
    since_ = loop_.now();
  } else if (loop_.now() - since_ >= timeout_) {
    const std::function<void()> on_timeout = on_timeout_;
    on_timeout();
    return;
  }
  Arm();
}

}  // namespace im::agent
