#include "orchestrator/agent/agent.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "orchestrator/agent/netstack_attachment.h"
#include "orchestrator/agent/proc_stat.h"
#include "orchestrator/agent/spawn.h"
#include "orchestrator/agent/start_request.h"
#include "orchestrator/agent/tun_attachment.h"
#include "orchestrator/agent/wake_cause.h"
#include "tunnel/constants.h"
#include "tunnel/path_mtu.h"

namespace im::agent {
namespace {

// For the orchestrator to say that nothing is on its way any more. It is beyond
// a few of its repetitions; without it (it is gone, or says nothing) we go.
constexpr Duration kGoodbyeMax = std::chrono::milliseconds(300);
// From a thaw to its report: the answer to what it was for needs some 0.1 ms, and
// who writes a report meanwhile keeps it waiting as long.
constexpr Duration kReportAfterThaw = std::chrono::milliseconds(1);
// From SIGKILL to the news of the end. Longer: it hangs in the kernel.
constexpr Duration kKillTakes = std::chrono::seconds(2);

}  // namespace

Agent::Agent(proto::StartRequest request, Instant started_at)
    : request_(std::move(request)),
      started_at_(started_at),
      gateway_(*tunnel::PublicKey::FromBytes(request_.gateway_public_key())),
      dual_stack_(DualStackOf(request_)),
      names_(std::move(*request_.mutable_name_table())),
      dns_(names_, request_.domain(),
           IpPrefix(AddressOf(request_.address()), static_cast<int>(request_.prefix_length())),
           dual_stack_),
      control_(request_.incarnation(), *this),
      use_meter_(request_.idle(), dual_stack_),
      health_probe_(request_.healthcheck()),
      readiness_(request_.has_healthcheck() ? &request_.healthcheck() : nullptr, *this),
      give_up_at_(started_at + std::chrono::milliseconds(request_.start_timeout_ms())) {}

Agent::~Agent() = default;

proto::ExitReport Agent::Run() {
  std::optional<Failure> failure = ReadCheckpoint();
  if (!failure) failure = StartSandbox();
  if (!failure) failure = StartTunnel();
  if (failure) {
    report_.set_reason(failure->reason);
    report_.set_message(std::string(failure->status.message()));
    if (sandbox_ != nullptr) sandbox_->Kill();
  } else {
    while (!MayLeave()) {
      loop_->RunOnce(NextDeadline() - clock_.Now());
      OnTurn();
    }
    loop_->RunOnce(Duration(0));  // the last packets leave
    exec_server_.reset();
    sandbox_->Kill();
    output_->Drain();
  }
  if (data_path_ != nullptr) data_path_->SetTap(nullptr);
  capture_server_.reset();
  attachment_.reset();  // while all is there that its last packets pass through
  cgroup_->Remove();
  const absl::Status written = WriteExitReport(request_.instance_dir(), report_);
  // Without its directory (its guest's `im run` was killed) nobody waits for it.
  if (!written.ok() && !absl::IsNotFound(written))
    IM_LOG(kError, std::string(written.message()));
  return report_;
}

std::optional<Agent::Failure> Agent::StartSandbox() {
  const proto::Program& program = request_.program();
  cgroup_ = Cgroup::Create({.cluster = request_.cluster(),
                            .host = request_.host(),
                            .incarnation = request_.incarnation(),
                            .mem_limit_bytes = program.mem_limit_bytes(),
                            .cpus = program.cpus(),
                            .reclaim = request_.idle().reclaim()},
                           ParseCgroupLayout(ReadSmallFile("/proc/self/mountinfo"),
                                             ReadSmallFile("/proc/self/cgroup")));
  for (const std::string& note : cgroup_->notes()) IM_LOG(kWarning, note);
  absl::StatusOr<std::unique_ptr<ProgramOutput>> output = ProgramOutput::Open(request_);
  if (!output.ok()) return Failure{proto::ExitReport::SANDBOX_FAILED, output.status()};
  output_ = *std::move(output);
  absl::StatusOr<std::unique_ptr<Sandbox>> sandbox = Sandbox::Start(
      {.request = &request_,
       .cgroup = cgroup_.get(),
       .namespaces = request_.attach() != proto::ATTACH_NETSTACK,
       .stdio = output_->stdio()});
  if (!sandbox.ok()) return Failure{proto::ExitReport::SANDBOX_FAILED, sandbox.status()};
  sandbox_ = *std::move(sandbox);
  cgroup_->SetInit(sandbox_->init());
  if (request_.has_checkpointing()) checkpointer_.emplace(request_, *cgroup_, *sandbox_);
  // What is restored gets it later.
  if (!restoring()) output_->CloseProgramSide();
  return std::nullopt;
}

absl::Status Agent::MakeAttachment() {
  const auto hold_for = std::chrono::milliseconds(request_.start_timeout_ms());
  if (request_.attach() == proto::ATTACH_NETSTACK) {
    // lwIP works in large segments whatever its MTU is, and cuts datagrams that
    // are larger, which then pass everywhere.
    const NetstackAttachment::Options options{
        .host = AddressOf(request_.address()),
        .prefix_length = static_cast<int>(request_.prefix_length()),
        .dual_stack = dual_stack_,
        .gateway = AddressOf(request_.gateway_address()),
        .mtu = std::min(static_cast<int>(request_.mtu()), tunnel::kPathMtuBase),
        .hold_for = hold_for};
    IM_ASSIGN_OR_RETURN(attachment_, NetstackAttachment::Create(options, *loop_, *data_path_));
  } else {
    const TunAttachment::Options options{.offload = request_.offload(), .hold_for = hold_for,
                                         .init = sandbox_->init(), .dual_stack = dual_stack_.on()};
    attachment_ = std::make_unique<TunAttachment>(options, *loop_, *data_path_);
  }
  data_path_->SetAttachment(*attachment_);
  return absl::OkStatus();
}

std::optional<Agent::Failure> Agent::StartTunnel() {
  absl::StatusOr<std::unique_ptr<EventLoop>> loop = EventLoop::Create(clock_);
  if (!loop.ok()) return Failure{proto::ExitReport::TUNNEL_FAILED, loop.status()};
  loop_ = *std::move(loop);
  loop_->SetBusyPoll(tunnel::kBusyPollWindow);
  data_path_ = std::make_unique<DataPath>(
      DataPath::Options{.host = AddressOf(request_.address()),
                        .gateway = AddressOf(request_.gateway_address()),
                        .started_at = started_at_,
                        .dual_stack = dual_stack_},
      *loop_, dns_, *this);
  if (absl::Status made = MakeAttachment(); !made.ok())
    return Failure{proto::ExitReport::SANDBOX_FAILED, made};
  pauser_ = std::make_unique<Pauser>(request_.idle(),
                                     request_.has_group() ? &request_.group() : nullptr, clock_,
                                     *cgroup_, *attachment_, sandbox_->init(), *this);

  tunnel::Driver::Options options;
  // Towards our own ends the path decides (probe_mtu).
  options.device.mtu = std::min(static_cast<int>(request_.mtu()), tunnel::kPathMtuBase);
  options.device.join_mtu = static_cast<int>(request_.mtu());
  if (!request_.listen_address().empty())
    options.listen.address = *IpAddress::Parse(request_.listen_address());
  absl::StatusOr<std::unique_ptr<tunnel::Driver>> driver = tunnel::Driver::Create(
      *tunnel::PrivateKey::FromBytes(request_.private_key()), options, *loop_, random_,
      *data_path_, this);
  std::string& key = *request_.mutable_private_key();
  explicit_bzero(key.data(), key.size());
  if (!driver.ok()) return Failure{proto::ExitReport::TUNNEL_FAILED, driver.status()};
  driver_ = *std::move(driver);
  peers_ = std::make_unique<DirectPeers>(*driver_, dual_stack_);
  data_path_->SetTunnel(*driver_, *peers_);

  tunnel::PeerConfig gateway;
  gateway.public_key = gateway_;
  gateway.endpoint = Endpoint::Parse(request_.gateway_endpoint());
  gateway.allowed_ips = NetworksOf(request_);
  gateway.relay = true;
  gateway.probe_mtu = true;
  if (absl::Status status = driver_->SetPeer(gateway); !status.ok())
    return Failure{proto::ExitReport::TUNNEL_FAILED, status};
  driver_->Connect(gateway_);
  loop_->RunOnce(Duration(0));  // the handshake leaves now

  if (restoring()) {
    data_path_->Keep(/*nor_out=*/false);
  } else {
    attachment_->OnProgramStart(loop_->now());
  }
  sandbox_->Watch(*loop_, *this);
  output_->Watch(*loop_);
  absl::Status status = WatchSignals();
  if (!status.ok()) return Failure{proto::ExitReport::SANDBOX_FAILED, status};
  auto exec_server =
      ExecServer::Listen(absl::StrCat(request_.instance_dir(), "/agent.sock"), *loop_, *this);
  if (!exec_server.ok()) return Failure{proto::ExitReport::SANDBOX_FAILED, exec_server.status()};
  exec_server_ = *std::move(exec_server);
  auto capture_server = CaptureServer::Listen(
      absl::StrCat(request_.instance_dir(), "/capture.sock"), *loop_,
      [this](bool used) { data_path_->SetTap(used ? capture_server_.get() : nullptr); });
  if (!capture_server.ok())
    return Failure{proto::ExitReport::SANDBOX_FAILED, capture_server.status()};
  capture_server_ = *std::move(capture_server);
  restore_watch_ = RestoreWatch::Create(*loop_, {}, [this](absl::string_view why) {
    IM_LOG(kInfo, "sessions are renewed: ", why);
    driver_->OnRestored();
  });
  return std::nullopt;
}

absl::Status Agent::WatchSignals() {
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGTERM);
  sigaddset(&watched, SIGINT);
  sigaddset(&watched, SIGHUP);
  signals_ = FileDescriptor(signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_.valid()) return ErrnoStatus("signalfd");
  signals_watch_ = loop_->WatchFd(signals_.get(), EPOLLIN, [this](uint32_t) {
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      // On a terminal, Ctrl-C is for the program, which gets it too.
      const bool on_terminal = request_.log_path().empty();
      if (on_terminal && info.ssi_signo == SIGINT) continue;
      Stop();
    }
  });
  return absl::OkStatus();
}

// ---- time ----

Instant Agent::NextDeadline() const {
  if (ended_) return std::min(control_.NextDeadline(), leave_at_);
  Instant next = std::min(control_.NextDeadline(), attachment_->NextDeadline());
  next = std::min(next, pauser_->NextDeadline());
  next = std::min({next, refresh_at_, kill_at_, publish_at_, readiness_.NextDeadline()});
  if (!gateway_seen_) next = std::min(next, give_up_at_);
  return next;
}

void Agent::OnTurn() {
  const Instant now = loop_->now();
  if (ended_) return control_.OnTimer(now);
  attachment_->OnTimer();
  const int held = static_cast<int>(attachment_->held());
  if (held != std::exchange(held_packets_, held)) {
    pauser_->detector().SetHeldPackets(held, now);
    if (held > 0 && pauser_->may_be_woken() && !pauser_->paused()) pauser_->Wake({});
  }
  if (pauser_->OnTimer(now)) Publish();
  readiness_.OnTimer(now);
  control_.OnTimer(now);
  if (now >= publish_at_) Publish();
  if (now >= refresh_at_) {
    control_.Refresh(MakeStatus(), now);
    refresh_at_ = now + ControlClient::kRefresh;
  }
  if (now >= kill_at_) KillProgram();
  if (!gateway_seen_ && now >= give_up_at_)
    End(proto::ExitReport::TUNNEL_FAILED, SIGKILL,
        absl::StrCat("the gateway at ", request_.gateway_endpoint(), " did not answer within ",
                     request_.start_timeout_ms() / 1000.0, "s"));
}

void Agent::PublishSoon() { publish_at_ = loop_->now() + kReportAfterThaw; }

void Agent::Publish() {
  publish_at_ = kNever;
  if (std::exchange(publish_due_, true)) return;
  loop_->AtEndOfTurn([this] {
    publish_due_ = false;
    control_.Publish(MakeStatus(), loop_->now());
  });
}

// ---- the sandbox ----

void Agent::OnDescriptor(FileDescriptor fd) {
  if (absl::Status status = attachment_->Adopt(std::move(fd)); !status.ok())
    End(proto::ExitReport::SANDBOX_FAILED, SIGKILL, std::string(status.message()));
}

void Agent::OnProgramStarted(pid_t pid) {
  program_ = pid;
  const Instant now = loop_->now();
  if (restoring()) {
    readiness_.OnRestored();
    data_path_->LetGo();
  } else {
    attachment_->OnProgramStart(now);
  }
  if (stopping_) {
    sandbox_->Signal(0, SignalOf(request_.program().stop_signal()));
    return cgroup_->Continue();
  }
  if (readiness_.ready()) {
    pauser_->OnProgramStarted(now);
  } else {
    readiness_.OnProgramStarted(now);
  }
  if (restoring() && pauser_->group() != nullptr) HoldRestored();
  refresh_at_ = now + ControlClient::kRefresh;
  Publish();
  loop_->AtEndOfTurn([this] { JoinControl(); });  // after that
  // Nobody waits for this.
  cgroup_->RemoveStale();
}

void Agent::OnStartFailed(proto::ExitReport::Reason reason, const std::string& text) {
  End(reason, 127 << 8, text);
}

void Agent::OnProgramEnded(int wait_status) {
  End(stopping_ ? proto::ExitReport::RELEASED : proto::ExitReport::EXITED, wait_status,
      killed_ ? "killed: did not stop in time" : "");
}

void Agent::Stop() {
  if (checkpointer_ && checkpointer_->dumping()) {
    stop_after_dump_ = true;
    return;
  }
  if (group_disk_.held() && !ended_) group_disk_.Loosen();
  if (std::exchange(stopping_, true) || ended_) return;
  readiness_.Stop();
  data_path_->LetNoConnectionBegin();
  pauser_->Stop(CauseOf(proto::WakeCause::USER));
  kill_at_ = loop_->now() + std::chrono::milliseconds(request_.program().stop_grace_ms());
  if (program_ != 0) sandbox_->Signal(0, SignalOf(request_.program().stop_signal()));
  Publish();
}

void Agent::KillProgram() {
  if (program_ == 0 || std::exchange(killed_, true)) {
    End(proto::ExitReport::RELEASED, SIGKILL, "killed: did not stop in time");
    return;
  }
  sandbox_->Signal(0, SIGKILL);
  kill_at_ = loop_->now() + kKillTakes;
}

void Agent::End(proto::ExitReport::Reason reason, int wait_status, const std::string& message) {
  if (std::exchange(ended_, true)) return;
  readiness_.Stop();
  pauser_->Stop(CauseOf(proto::WakeCause::USER));
  data_path_->SendOnlyBy(gateway_);
  attachment_->OnProgramEnd();
  sandbox_->Kill();  // what the program left behind
  attachment_->OnProcessesGone();
  report_.set_reason(unhealthy_.empty() ? reason : proto::ExitReport::UNHEALTHY);
  report_.set_message(unhealthy_.empty() ? message : unhealthy_);
  report_.set_exit_code(ExitCodeOf(wait_status));
  if (WIFSIGNALED(wait_status)) report_.set_signal(WTERMSIG(wait_status));
  program_ = 0;
  stopping_ = true;
  leave_at_ = loop_->now() + kGoodbyeMax;
  Publish();
}

bool Agent::MayLeave() const {
  if (!ended_) return false;
  // Whoever wants it gets it back the sooner; and nobody knows one that never was up.
  if (report_.reason() == proto::ExitReport::CHECKPOINTED || !readiness_.ready()) return true;
  // Who is asked to go is sent nothing any more.
  return !control_.connected() || loop_->now() >= leave_at_ ||
         control_.desired().goal() != proto::DesiredState::RUN;
}

// ---- pauses (packets and commands: agent_use.cc) ----

void Agent::OnPausedOrThawed() {
  attachment_->OnPausedOrThawed(pauser_->paused());
  if (pauser_->group() != nullptr && checkpointer_)
    data_path_->RememberUnread(pauser_->paused());
  refresh_at_ = pauser_->paused() ? kNever : loop_->now() + ControlClient::kRefresh;
  if (pauser_->paused() || pauser_->group() != nullptr) return Publish();
  PublishSoon();
}

// ---- the orchestrator ----

void Agent::OnControl(std::span<const uint8_t> payload) {
  control_.OnMessage(payload);
}

void Agent::SendControl(const std::string& message) {
  data_path_->SendControl(gateway_, message);
}

void Agent::OnPeer(const IpAddress& address, const proto::PeerUpdate& update) {
  // The last of their packets are still welcome.
  if (ended_) return;
  peers_->Apply(address, update, loop_->now());
  if (GroupPauser* const group = pauser_->group(); group != nullptr && update.withdrawn())
    group->OnFellowGone(address, update.gone(), loop_->now());
}

void Agent::OnDesired(const proto::DesiredState& desired) {
  refused_release_ = false;
  not_checkpointed_.clear();
  const bool wake = desired.wake_requests() > std::exchange(wakes_seen_, desired.wake_requests());
  const bool suspend =
      desired.suspend_requests() > std::exchange(suspends_seen_, desired.suspend_requests());
  if (wake) {
    pauser_->detector().OnUse(loop_->now());
    pauser_->Wake(desired.has_wake_cause() ? desired.wake_cause()
                                           : CauseOf(proto::WakeCause::USER));
  } else if (suspend) {  // a wake beats a suspend
    if (absl::Status status = pauser_->Pause(); !status.ok())
      IM_LOG(kWarning, "suspend: ", std::string(status.message()));
  }
  if (GroupPauser* const group = pauser_->group(); group != nullptr && !stopping_) {
    if (group->IsNewRequest(desired.group_pauses()) && !wake)
      group->OnAsked(desired.group_pause_forced(), desired.group_pause_at_once(), loop_->now());
  }
  OnDesiredGoal(desired);
}

void Agent::OnDesiredGoal(const proto::DesiredState& desired) {
  switch (desired.goal()) {
    case proto::DesiredState::RELEASE:
      Stop();
      break;
    case proto::DesiredState::RELEASE_IF_IDLE: {
      if (desired.disk_step() > proto::DesiredState::HOLD) {
        if (!ended_ && !stopping_) refused_release_ |= !group_disk_.OnStep(desired.disk_step());
        break;
      }
      if (desired.move()) {
        BeginMove();
        break;
      }
      if (!ended_) group_disk_.OnHoldAsked();
      // Packets may be in the socket behind this message: posted functions run
      // when the next turn has read it.
      loop_->Post([this, thaws = pauser_->thaws()] { DecideReleaseIfIdle(thaws); });
      break;
    }
    default:
      OnCalledOff();
      break;
  }
  Publish();  // that it was heard, and fresh figures
}

void Agent::DecideReleaseIfIdle(uint64_t thaws_before) {
  const proto::DesiredState& desired = control_.desired();
  if (ended_ || stopping_ || group_disk_.held() || (checkpointer_ && checkpointer_->dumping()) ||
      desired.goal() != proto::DesiredState::RELEASE_IF_IDLE)
    return;
  const bool waking = pauser_->group() != nullptr && pauser_->group()->waking();
  const bool used = pauser_->thaws() != thaws_before ||
                    (desired.has_thaws_known() && desired.thaws_known() < thaws_before);
  if (pauser_->paused() && !waking && !used && held_packets_ == 0) {
    if (checkpointer_ && desired.disk_step() == proto::DesiredState::HOLD) {
      HoldForGroup();
    } else if (checkpointer_ && desired.to_disk()) {
      BeginCheckpoint();
    } else {
      Stop();
    }
    return;
  }
  refused_release_ = true;
  Publish();
}

void Agent::OnSessionUp(const tunnel::PublicKey& peer) {
  if (peer != gateway_) {
    peers_->OnSession(peer, true);
    return;
  }
  gateway_seen_ = true;
  // The device is in the middle of its work.
  loop_->AtEndOfTurn([this] {
    JoinControl();
    BeginRestoreIfReady();
  });
}

void Agent::JoinControl() {
  // The first status means "running": a program that cannot be started never was.
  if (!gateway_seen_ || program_ == 0) return;
  // It may be the turn in which the program began, and nothing was published yet.
  if (!control_.connected()) control_.Publish(MakeStatus(), loop_->now());
  control_.OnConnected(loop_->now());
}

void Agent::OnSessionDown(const tunnel::PublicKey& peer) {
  peers_->OnSession(peer, false);
  // Until the gateway was seen once, its handshakes are ours to begin.
  if (peer == gateway_ && !gateway_seen_)
    loop_->AtEndOfTurn([this] { driver_->Connect(gateway_); });
}

}  // namespace im::agent
