// Agent: when its host is up.

#include <signal.h>

#include "orchestrator/agent/agent.h"

namespace im::agent {

void Agent::RunTest() {
  const absl::Status status = health_probe_.Run(*loop_, *sandbox_);
  if (status.ok()) return;
  loop_->Post([this, why = std::string(status.message())] { OnTestEnded(0, why); });
}

void Agent::KillTest() { sandbox_->Signal(HealthProbe::kSession, SIGKILL); }

void Agent::OnTestEnded(int wait_status, const std::string& error) {
  if (ended_) return;
  const std::string before = readiness_.Reason();
  readiness_.OnTestEnded(health_probe_.OnEnded(wait_status, error), loop_->now());
  if (!ended_ && readiness_.Reason() != before) Publish();
}

// Whoever is not up yet is not paused: nobody could say that it is idle.
void Agent::OnReady() { pauser_->OnProgramStarted(loop_->now()); }

// Its program may have much to put in order.
void Agent::OnUnhealthy(const std::string& why) {
  unhealthy_ = why;
  Stop();
}

}  // namespace im::agent
