// What it says and does. sim_agent_network.cc: its tunnel; sim_agent_disk.cc: to disk,
// and back.

#include "tests/simulation/sim_agent.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/ip_build.h"
#include "orchestrator/cause.h"
#include "orchestrator/control_channel.h"

namespace im::simulation {
namespace {

using orchestrator::kControlPort;

// agent.cc
constexpr Duration kGoodbyeMax = std::chrono::milliseconds(300);

IpAddress FromBytes(const std::string& bytes) {
  return IpAddress::FromBytes({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
}

DualStack DualStackOf(const proto::StartRequest& request) {
  if (request.network6().empty()) return DualStack();
  return DualStack(IpPrefix(FromBytes(request.network6()), DualStack::kPrefixLength));
}

struct BeatMessage {
  IpAddress from;  // of either family
  bool answer;
  SimAgent::Fellow fellow;
};

// nullopt: it is something else.
std::optional<BeatMessage> ParseBeat(const std::vector<uint8_t>& bytes) {
  const std::optional<IpView> view = ParseIp(bytes);
  if (!view->is_udp() || view->destination_port != kBeatPort) return std::nullopt;
  uint32_t words[4];
  memcpy(words, bytes.data() + view->payload_offset, sizeof(words));
  return BeatMessage{view->source, words[0] != 0, {words[1], words[2], words[3]}};
}

agent::IdleDetector::Policy PolicyOf(const proto::IdlePolicy& idle) {
  agent::IdleDetector::Policy policy;
  policy.after = std::chrono::milliseconds(idle.after_ms());
  if (idle.mode() == proto::IdlePolicy::NEVER) policy.mode = agent::IdleDetector::Mode::kNever;
  return policy;
}

}  // namespace

SimAgent::SimAgent(Delegate& delegate, Node node, orchestrator::HostId host,
                   const proto::StartRequest& request, const Behaviour& behaviour)
    : delegate_(delegate),
      world_(delegate.world()),
      node_(node),
      host_(host),
      id_{request.host(), request.incarnation()},
      address_(FromBytes(request.address())),
      gateway_(FromBytes(request.gateway_address())),
      dual_stack_(DualStackOf(request)),
      key_(tunnel::DerivePublicKey(*tunnel::PrivateKey::FromBytes(request.private_key()))),
      behaviour_(behaviour),
      stop_grace_(std::chrono::milliseconds(request.program().stop_grace_ms())),
      began_at_(world_.Now()),
      tells_connections_(request.idle().tell_connections()),
      busy_percent_(behaviour.busy_percent),
      control_(request.incarnation(), *this),
      detector_(PolicyOf(request.idle()), *this),
      give_up_at_(world_.Now() + std::chrono::milliseconds(request.start_timeout_ms())) {
  if (request.has_group()) group_.emplace(request.group(), world_.Now(), *this);
  if (request.has_checkpointing()) checkpointing_ = request.checkpointing();
  if (request.checkpointing().restore()) ReadCheckpoint();
  After(behaviour.boot / 2, &SimAgent::ConnectGateway);
  if (!behaviour.hangs || behaviour.stop > Duration(0))
    After(behaviour.boot, &SimAgent::StartProgram);
}

void SimAgent::After(Duration delay, void (SimAgent::*what)()) {
  world_.After(delay, [&delegate = delegate_, node = node_, what] {
    if (SimAgent* self = delegate.FindAgent(node)) (self->*what)();
  });
}

std::string SimAgent::Text() const {
  std::string group;
  if (group_) {
    proto::InstanceStatus status;
    group_->Describe(world_.Now(), status);
    group = absl::StrCat(" {", status.group().ShortDebugString(), "}");
  }
  return absl::StrCat(id_.host, "#", id_.incarnation, ended_      ? " ended"
                                                      : stopping_ ? " stopping"
                                                      : paused_   ? " paused"
                                                      : program_  ? " runs"
                                                                  : " boots",
                      group);
}

// ---- the program ------------------------------------------------------------

void SimAgent::StartProgram() {
  if (stopping_ || ended_) return;
  if (behaviour_.start_fails) return End(proto::ExitReport::EXEC_FAILED, 127, "exec p: no such file");
  if (checkpointing_ && checkpointing_->restore()) {
    ready_to_restore_ = true;
    return BeginRestoreIfReady();
  }
  memory_.life = node_;
  delegate_.OnMemory(*this, memory_);
  RunProgram();
}

void SimAgent::RunProgram() {
  program_ = true;
  ready_ = behaviour_.tested == Duration(0) || (checkpointing_ && checkpointing_->restore());
  if (ready_) {
    BecomeReady();
  } else {
    After(behaviour_.tested, &SimAgent::BecomeReady);
  }
  Publish();
  After(Duration(0), &SimAgent::JoinControl);
  if (checkpointing_ && checkpointing_->restore() && group_) HoldRestored();
  if (behaviour_.beats) Beat();
  if (behaviour_.works > Duration(0)) After(behaviour_.works, &SimAgent::OnWorkDone);
}

void SimAgent::BecomeReady() {
  if (stopping_ || ended_) return;
  ready_ = may_pause_ = true;
  detector_.OnAwake(world_.Now());
  Publish();
}

void SimAgent::OnWorkDone() {
  if (stopping_ || ended_) return;
  work_done_ = true;  // while it is frozen its timers stand still
  if (!paused_) ExitProgram(behaviour_.work_fails ? 1 : 0);
}

void SimAgent::ExitProgram(int exit_code) {
  if (held()) return;
  End(proto::ExitReport::EXITED, exit_code, "");
}

void SimAgent::ReadAll() {
  for (const std::vector<uint8_t>& bytes : std::exchange(kernel_, {})) {
    const std::optional<BeatMessage> beat = ParseBeat(bytes);
    if (!beat) {
      delegate_.OnProgramGets(*this, bytes);
    } else if (!beat->answer) {
      SendBeat(beat->from, /*answer=*/true);
    }
  }
}

// ---- beats ----

void SimAgent::SendBeat(const IpAddress& fellow, bool answer) {
  const uint32_t words[] = {answer, memory_.life, node_, ++memory_.beats};
  Send(BuildUdp({fellow.is_v4() ? address_ : dual_stack_.ToV6(address_), kBeatPort},
                {fellow, kBeatPort},
                {reinterpret_cast<const uint8_t*>(words), sizeof(words)}));
}

void SimAgent::ToKernel(std::vector<uint8_t> bytes) {
  const std::optional<BeatMessage> beat = ParseBeat(bytes);
  kernel_.push_back(std::move(bytes));
  if (!beat) return;
  const IpAddress from = dual_stack_.Plain(beat->from);
  Fellow& fellow = memory_.fellows[from];
  if (beat->fellow.node < fellow.node) return;  // it is late
  const bool goes_on = beat->fellow.life == fellow.life;
  if (goes_on && beat->fellow.node > fellow.node && beat->fellow.number <= fellow.number)
    delegate_.OnOldBeat(*this, from);
  const uint32_t before = goes_on ? fellow.number : 0;
  fellow = beat->fellow;
  fellow.number = std::max(fellow.number, before);
}

bool SimAgent::HasUnreadBeat(const IpAddress& fellow) const {
  const Node life = memory_.fellows.at(fellow).life;
  return std::any_of(kernel_.begin(), kernel_.end(), [&](const std::vector<uint8_t>& bytes) {
    const std::optional<BeatMessage> beat = ParseBeat(bytes);
    return beat && dual_stack_.Plain(beat->from) == fellow && beat->fellow.life == life;
  });
}

void SimAgent::Beat() {
  if (stopping_ || ended_) return;
  for (const IpAddress& fellow : behaviour_.leads) {
    if (paused_) break;
    const bool v6 = dual_stack_.on() && memory_.beats % 2 == 0;
    SendBeat(v6 ? dual_stack_.ToV6(fellow) : fellow, /*answer=*/false);
  }
  After(kBeat, &SimAgent::Beat);
}

void SimAgent::Stop() {
  if (dumping_ || group_disk_.state() == agent::GroupDisk::State::kDumping) {
    stop_after_dump_ = true;
    return;
  }
  if (group_disk_.held() && !ended_) group_disk_.Loosen();
  if (std::exchange(stopping_, true) || ended_) return;
  StopPausing();
  kill_at_ = world_.Now() + stop_grace_;
  Publish();
  if (behaviour_.hangs) return;
  world_.After(behaviour_.stop, [&d = delegate_, node = node_] {
    if (SimAgent* self = d.FindAgent(node)) self->End(proto::ExitReport::RELEASED, 0, "");
  });
}

void SimAgent::End(proto::ExitReport::Reason reason, int exit_code, const std::string& message) {
  if (std::exchange(ended_, true)) return;
  StopPausing();
  report_.set_reason(reason);
  report_.set_exit_code(exit_code);
  report_.set_message(message);
  program_ = false;
  stopping_ = true;
  leave_at_ = world_.Now();
  if (reason != proto::ExitReport::CHECKPOINTED && ready_) leave_at_ += kGoodbyeMax;
  Publish();
}

// ---- pauses -----------------------------------------------------------------

void SimAgent::Wake(const proto::WakeCause& cause) {
  if (held()) {
    if (!wake_when_loose_) wake_when_loose_ = cause;
    return;
  }
  if (group_) {
    group_->Wake(cause, world_.Now());
  } else {
    Thaw(cause, /*used=*/true);
  }
}

void SimAgent::OnIdle() {
  if (group_) return group_->OnQuiet();
  (void)PauseNow();
}

bool SimAgent::Freeze() { return PauseNow(); }

bool SimAgent::PauseNow() {
  if (paused_) return true;
  if (!may_pause_) return false;
  paused_ = true;
  paused_at_ = world_.Now();
  if (tells_connections_) connections_ = world_.Chance(50) ? 1 : 0;
  timer_at_ = kNever;
  if (!group_ && world_.Chance(behaviour_.timer_percent))
    timer_at_ = world_.Now() + world_.UpTo(std::chrono::seconds(20));
  detector_.OnAsleep(world_.Now());
  if (group_) group_->OnPausedOrThawed(true, world_.Now());
  Publish();
  return true;
}

void SimAgent::Thaw(const proto::WakeCause& cause, bool used) {
  if (!paused_ || group_disk_.held()) return;
  const Instant now = world_.Now();
  const bool ordered = !control_.desired().group_pause_at_once();
  if (!stopping_) delegate_.OnThaw(*this);
  if (group_ && ordered && !stopping_ && now - paused_at_ > kTimeout && delegate_.BeatsAreChecked())
    for (const auto& [address, fellow] : memory_.fellows)
      if (!HasUnreadBeat(address)) delegate_.OnMissedBeat(*this, address, fellow.life);
  paused_ = false;
  cause_ = cause;
  ++thaws_;
  timer_at_ = kNever;
  used ? detector_.OnAwake(now) : detector_.OnAwakeBriefly(now);
  if (group_) group_->OnPausedOrThawed(false, now);
  Publish();
  // The program finds what came, and its timers have passed.
  world_.After(world_.UpTo(std::chrono::milliseconds(2)), [&d = delegate_, node = node_] {
    SimAgent* const self = d.FindAgent(node);
    if (self == nullptr || self->paused_ || self->ended_) return;
    self->ReadAll();
    if (self->work_done_) self->OnWorkDone();
  });
}

void SimAgent::StopPausing() {
  may_pause_ = false;
  Thaw({}, /*used=*/true);
  if (group_) group_->OnPausedOrThawed(false, world_.Now());
  detector_.OnAsleep(world_.Now());
}

void SimAgent::OnGroupUse() {
  detector_.OnAwake(world_.Now());
  detector_.OnUse(world_.Now());
}

agent::IdleEvidence SimAgent::LookAtProcesses(Look) {
  agent::IdleEvidence evidence;
  evidence.busy_file = world_.Chance(busy_percent_);
  return evidence;
}

// ---- time -------------------------------------------------------------------

Instant SimAgent::NextDeadline() const {
  Instant next = std::min({control_.NextDeadline(), connect_at_, leave_at_});
  if (imd_ != 0 && gateway_silent_since_ != kNever && connect_at_ == kNever)
    next = std::min(next, gateway_silent_since_ + kSilenceMax);
  if (ended_) return next;
  next = std::min(next, kill_at_);
  if (!gateway_seen_) next = std::min(next, give_up_at_);
  if (!may_pause_ || held()) return next;
  next = std::min(next, paused_ ? timer_at_ : detector_.NextDeadline());
  return group_ ? std::min(next, group_->NextDeadline()) : next;
}

void SimAgent::OnTimer() {
  const Instant now = world_.Now();
  control_.OnTimer(now);
  if (imd_ != 0 && connect_at_ == kNever && gateway_silent_since_ != kNever &&
      now >= gateway_silent_since_ + kSilenceMax)
    connect_at_ = now;
  if (now >= connect_at_) ConnectGateway();
  if (ended_) {
    if (now < leave_at_ && control_.connected() &&
        control_.desired().goal() == proto::DesiredState::RUN)
      return;
    return delegate_.OnExit(*this, report_);
  }
  if (now >= kill_at_) End(proto::ExitReport::RELEASED, 137, "killed: did not stop in time");
  if (!gateway_seen_ && now >= give_up_at_)
    End(proto::ExitReport::TUNNEL_FAILED, 137, "the gateway did not answer");
  if (!may_pause_ || held()) return;
  if (group_) group_->OnTimer(now);
  if (paused_) {
    if (now < timer_at_) return;
    proto::WakeCause cause;
    cause.set_kind(proto::WakeCause::TIMER);
    Thaw(cause, /*used=*/false);
  } else {
    detector_.OnTimer(now);
  }
}

// ---- the orchestrator -------------------------------------------------------

void SimAgent::Publish() {
  if (std::exchange(publish_due_, true)) return;
  world_.After(Duration(0), [&d = delegate_, node = node_] {
    SimAgent* const self = d.FindAgent(node);
    if (self == nullptr) return;
    self->publish_due_ = false;
    self->control_.Publish(self->MakeStatus(), self->world_.Now());
  });
}

proto::InstanceStatus SimAgent::MakeStatus() const {
  proto::InstanceStatus status;
  status.set_state(stopping_ || dumping_ ? proto::InstanceStatus::RELEASING
                   : refused_release_ ? proto::InstanceStatus::RELEASE_REFUSED
                   : paused_          ? proto::InstanceStatus::PAUSED
                                      : proto::InstanceStatus::RUNNING);
  *status.mutable_wake_cause() = cause_;
  status.set_not_checkpointed(not_checkpointed_);
  status.set_disk(group_disk_.Describe());
  if (!ready_) status.set_not_ready("it is tested");
  status.set_thaws(thaws_);
  status.set_agent_pid(node_);
  status.set_program_pid(program_ ? node_ : 0);
  if (timer_at_ != kNever)
    status.set_timer_in_ms(static_cast<uint64_t>(
        std::max<int64_t>(1, (timer_at_ - world_.Now()).count() / 1'000'000)));
  if (paused_)
    status.set_paused_for_ms(std::chrono::duration_cast<std::chrono::milliseconds>(
                                 world_.Now() - detector_.asleep_since()).count());
  if (paused_) status.set_connections(connections_);
  if (group_) group_->Describe(world_.Now(), status);
  return status;
}

void SimAgent::SendControl(const std::string& message) {
  SendByGateway(BuildUdp({address_, kControlPort}, {gateway_, kControlPort},
                         {reinterpret_cast<const uint8_t*>(message.data()), message.size()}));
}

void SimAgent::OnPeer(const IpAddress& address, const proto::PeerUpdate& update) {
  if (ended_) return;
  const auto known = peers_.find(address);
  const auto key = tunnel::PublicKey::FromBytes(update.public_key());
  if (known != peers_.end() && (update.withdrawn() || !key || known->second.key != *key))
    peers_.erase(known);
  if (update.withdrawn()) {
    if (group_) group_->OnFellowGone(address, update.gone(), world_.Now());
    return;
  }
  if (!key) return;
  peers_[address].key = *key;
  ConnectPeer(address);
}

void SimAgent::OnDesired(const proto::DesiredState& desired) {
  refused_release_ = false;
  not_checkpointed_.clear();
  const bool wake = desired.wake_requests() > std::exchange(wakes_seen_, desired.wake_requests());
  const bool suspend =
      desired.suspend_requests() > std::exchange(suspends_seen_, desired.suspend_requests());
  if (wake) {
    detector_.OnUse(world_.Now());
    Wake(desired.wake_cause());
  } else if (suspend) {
    (void)PauseNow();
  }
  if (group_ && !stopping_ && group_->IsNewRequest(desired.group_pauses()) && !wake)
    group_->OnAsked(desired.group_pause_forced(), desired.group_pause_at_once(), world_.Now());
  if (desired.goal() == proto::DesiredState::RELEASE) {
    Stop();
  } else if (desired.goal() == proto::DesiredState::RUN) {
    OnCalledOff();
  } else if (desired.disk_step() > proto::DesiredState::HOLD) {
    if (!ended_ && !stopping_) refused_release_ |= !group_disk_.OnStep(desired.disk_step());
  } else if (desired.move()) {
    BeginMove();
  } else {
    if (!ended_) group_disk_.OnHoldAsked();
    // Packets may be in the socket behind this message.
    world_.After(Duration(0), [&d = delegate_, node = node_, thaws = thaws_] {
      if (SimAgent* self = d.FindAgent(node)) self->DecideReleaseIfIdle(thaws);
    });
  }
  if (ended_) leave_at_ = std::min(leave_at_, world_.Now());
  Publish();
}

void SimAgent::DecideReleaseIfIdle(uint64_t thaws_before) {
  if (ended_ || stopping_ || held() ||
      control_.desired().goal() != proto::DesiredState::RELEASE_IF_IDLE)
    return;
  const proto::DesiredState& desired = control_.desired();
  const bool used = desired.has_thaws_known() && desired.thaws_known() < thaws_before;
  if (paused_ && !used && !(group_ && group_->waking()) && thaws_ == thaws_before) {
    released_as_idle_ = true;
    if (checkpointing_ && control_.desired().disk_step() == proto::DesiredState::HOLD)
      return HoldForGroup();
    return checkpointing_ && control_.desired().to_disk() ? BeginCheckpoint() : Stop();
  }
  refused_release_ = true;
  Publish();
}

}  // namespace im::simulation
