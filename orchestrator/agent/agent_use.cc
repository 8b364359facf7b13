// Agent: packets and commands, which show use of the host.

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "orchestrator/agent/agent.h"
#include "orchestrator/agent/wake_cause.h"

namespace im::agent {

void Agent::OnInboundUse(Use use, const IpView& packet) {
  const Instant now = loop_->now();
  const IpAddress from = dual_stack_.Plain(packet.source);
  if (pauser_->IsHeartbeat(from, /*inbound=*/true, packet.total_size, now)) return;
  const bool counts =
      use != Use::kEnd && use != Use::kName && use_meter_.CountsInbound(packet, now);
  if (counts) pauser_->detector().OnUse(now);
  // The program is to hear of it before it is paused.
  if (use == Use::kEnd) pauser_->detector().OnMoment(now);
  if (!pauser_->may_be_woken() || (!counts && !pauser_->paused())) return;
  // A group has its own order.
  if (pauser_->group() != nullptr) return pauser_->Wake(CauseOf(use, packet));
  if (!thaw_cause_ || (counts && !thaw_used_)) thaw_cause_ = CauseOf(use, packet);
  thaw_used_ |= counts;
  thaw_news_ |= use == Use::kEnd;
}

// A frozen program's kernel has what came, so the program wakes up once and finds it.
// Thawed before, it would look, find nothing, and be woken again.
void Agent::OnInboundDelivered() {
  if (!thaw_cause_) return;
  const proto::WakeCause cause = *std::exchange(thaw_cause_, std::nullopt);
  const bool news = std::exchange(thaw_news_, false);
  if (std::exchange(thaw_used_, false)) {
    pauser_->Wake(cause);
  } else {
    pauser_->ThawBriefly(cause, news);
  }
}

void Agent::OnOutboundUse(const IpView& packet) {
  const Instant now = loop_->now();
  const IpAddress to = dual_stack_.Plain(packet.destination);
  if (pauser_->IsHeartbeat(to, /*inbound=*/false, packet.total_size, now)) return;
  if (!use_meter_.CountsOutbound(packet, now)) return;
  pauser_->detector().OnUse(now);
  // What it sends of itself wakes it only from being about to be paused.
  if (pauser_->may_be_woken() && !pauser_->paused()) pauser_->Wake({});
}

absl::Status Agent::RunSession(uint32_t id, const proto::ExecRequest& request,
                               std::span<const int> fds) {
  if (stopping_) return absl::UnavailableError("the host is being stopped");
  if (group_disk_.state() != GroupDisk::State::kRestored &&
      (group_disk_.held() || (checkpointer_ && checkpointer_->dumping())))
    return absl::UnavailableError("the host is going to disk: try again");
  if (program_ == 0 && restoring()) return absl::UnavailableError("the host is not up yet");
  return sandbox_->RunSession(id, request, fds);
}

void Agent::OnSessionEnded(uint32_t id, int wait_status, const std::string& error) {
  if (id == HealthProbe::kSession) return OnTestEnded(wait_status, error);
  exec_server_->OnSessionEnded(id, wait_status, error);
}

void Agent::OnSessionsChanged(int running) {
  if (running > 0) pauser_->Wake(CauseOf(proto::WakeCause::EXEC));
  exec_sessions_ = running;
  pauser_->detector().SetExecSessions(running, loop_->now());
  if (!ended_) Publish();  // what keeps the host up has changed
}

}  // namespace im::agent
