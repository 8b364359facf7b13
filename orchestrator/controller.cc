// The life of instances: started, told what to do, heard from, ended. Taking
// them back after a restart is in controller_restore.cc, guests in
// controller_guests.cc.

#include "orchestrator/controller.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/log.h"
#include "orchestrator/agent_words.h"
#include "orchestrator/transition_event.h"

namespace im::orchestrator {
namespace {

using Goal = Activator::Goal;

// The parent exists; the directory may.
absl::Status MakeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0755) < 0 && errno != EEXIST) {
    return ErrnoStatus(absl::StrCat("make directory ", path));
  }
  return absl::OkStatus();
}

// Versions of messages: above all that an earlier orchestrator used, whose
// first incarnation was lower.
uint64_t FirstVersion(uint64_t first_incarnation) { return first_incarnation << 24; }

}  // namespace

Controller::Controller(const Options& options, const ClusterSpec& spec, HostTable& hosts,
                       EventLoop& loop, Random& random, TunnelEdge& tunnel)
    : options_(options),
      spec_(spec),
      hosts_(hosts),
      loop_(loop),
      random_(random),
      tunnel_(tunnel),
      requests_(spec, options.state_dir, options.gateway_key, options.gateway_endpoint,
                options.criu),
      checkpoints_(options.checkpoints_directory),
      connections_on_disk_(spec.dual_stack),
      gateway_(spec.network, spec.gateway, spec.dual_stack, tunnel, *this),
      memory_(spec.limits.min_free_memory_bytes, options.available_memory),
      activator_(hosts, options.limits, options.first_incarnation, *this),
      introductions_(options.introduction_times, FirstVersion(options.first_incarnation)),
      control_(spec.gateway, options.control_times, FirstVersion(options.first_incarnation),
               introductions_, *this),
      groups_(hosts),
      addresses_(spec.network),
      passing_names_(hosts),
      names_(std::string(requests_.name_table())),
      guests_(addresses_, names_),
      peers_(spec.network, spec.dual_stack, addresses_, hosts, names_, tunnel, gateway_,
             loop.clock()),
      meter_(spec.hosts.size(), loop.now()),
      self_(std::make_shared<Controller*>(this)) {
  names_.SetPassing(&passing_names_);
  for (const HostSpec& host : spec.hosts) addresses_.Reserve(host.address);
  if (options.available_memory == nullptr) return;
  for (HostId host = 0; host < spec.hosts.size(); ++host)
    memory_.SetLimit(host, spec.hosts[host].mem_limit_bytes);
  activator_.SetAdmission(this);
}

Controller::~Controller() { *self_ = nullptr; }

void Controller::Begin() {
  activator_.Begin(now());
  Touch();
}

const Instance* Controller::FindInstance(HostId host) const {
  const auto it = instances_.find(host);
  return it == instances_.end() ? nullptr : it->second.get();
}

Instance* Controller::Find(HostId host, uint64_t incarnation) {
  const auto it = instances_.find(host);
  if (it == instances_.end() || it->second->id.incarnation != incarnation) return nullptr;
  return it->second.get();
}

// ---- start ------------------------------------------------------------------

Instance& Controller::AddInstance(HostId host, uint64_t incarnation,
                                  const tunnel::PublicKey& key, const Cause& cause,
                                  bool adopted) {
  std::unique_ptr<Instance>& slot = instances_[host];
  IM_CHECK(slot == nullptr);
  slot = std::make_unique<Instance>();
  slot->host = host;
  slot->id = {hosts_[host].name, incarnation};
  slot->address = hosts_[host].address;
  slot->key = key;
  slot->adopted = adopted;
  slot->directory = requests_.DirectoryOf(slot->id.host);
  slot->cause = cause;
  slot->started_unix_nanos = loop_.clock().UnixNanos();
  control_.Add(slot->address, incarnation);
  introductions_.Join(slot->address, key, adopted);
  dirty_ = true;
  Touch();
  return *slot;
}

void Controller::StartInstance(HostId host, uint64_t incarnation, const Cause& cause) {
  const tunnel::PrivateKey key = tunnel::GeneratePrivateKey(random_);
  Instance& instance =
      AddInstance(host, incarnation, tunnel::DerivePublicKey(key), cause, /*adopted=*/false);
  // Its agent holds it by itself, until its group is complete.
  if (hosts_[host].state == HostState::kRestoring && hosts_.GroupOf(host).has_value())
    instance.goal = Goal::kStay;
  const absl::Status status = Start(instance, key);
  if (status.ok()) return;
  instance.provided = false;
  loop_.Post([self = self_, host, incarnation, message = std::string(status.message())] {
    if (*self == nullptr || (*self)->Find(host, incarnation) == nullptr) return;
    (*self)->Ended(host, {Activator::End::Kind::kFailed, message});
  });
}

absl::Status Controller::Start(Instance& instance, const tunnel::PrivateKey& key) {
  IM_ASSIGN_OR_RETURN(proto::StartRequest request,
                      requests_.ForHost(spec_.hosts[instance.host], instance, key));
  IM_RETURN_IF_ERROR(PrepareCheckpointing(instance.host, request));
  IM_RETURN_IF_ERROR(MakeDirectory(instance.directory));
  tunnel::PeerConfig peer;
  peer.public_key = instance.key;
  peer.allowed_ips = spec_.dual_stack.HostPrefixes(instance.address);
  peer.probe_mtu = true;
  IM_RETURN_IF_ERROR(tunnel_.SetPeer(peer));
  provider_->Start(request, {.name_table = requests_.name_table()});
  return absl::OkStatus();
}

void Controller::OnStarted(const InstanceId& id, const InstanceHandle& handle) {
  const std::optional<HostId> host = hosts_.FindByName(id.host);
  Instance* instance = host.has_value() ? Find(*host, id.incarnation) : nullptr;
  if (instance == nullptr) return;
  instance->handle = handle;
  dirty_ = true;
  Touch();
}

// ---- goals ------------------------------------------------------------------

void Controller::SetGoal(HostId host, uint64_t incarnation, Goal goal, const Cause& cause) {
  Instance* instance = Find(host, incarnation);
  if (instance == nullptr) return;
  instance->goal = goal;
  instance->goal_cause = cause;
  Touch();
  switch (goal) {
    case Goal::kRun:
      // Introduced again only when it says that it goes on: it may have ended.
      instance->suspend_asked = false;
      ++instance->wake_requests;
      SendDesired(*instance);
      break;
    case Goal::kLoosen:
      instance->goal = Goal::kRun;
      SendDesired(*instance);
      break;
    case Goal::kStay:
    case Goal::kDump:
    case Goal::kCommit:
      SendDesired(*instance);
      break;
    case Goal::kReleaseIfIdle:
      instance->thaws_known = instance->status.thaws();
      BeginWithdrawal(*instance);
      break;
    case Goal::kMove:
    case Goal::kRelease:
      BeginWithdrawal(*instance);
      break;
    case Goal::kKill:
      if (instance->provided) {
        provider_->Release(instance->id, Duration(0), /*force=*/true);
      } else {
        EndGuest(host, absl::UnavailableError(cause.detail));
      }
      break;
  }
}

void Controller::BeginWithdrawal(Instance& instance) {
  instance.goal_deferred = true;
  // When all go, those who know it need not be told.
  if (shutting_down_ || !instance.reachable) return SendDesired(instance);
  introductions_.Withdraw(instance.address, now(), now() + kWithdrawBound,
                          [this, host = instance.host, incarnation = instance.id.incarnation] {
                            if (Instance* found = Find(host, incarnation)) SendDesired(*found);
                          });
}

void Controller::SendDesired(Instance& instance) {
  instance.goal_deferred = !instance.reachable;
  if (instance.reachable) {
    proto::DesiredState state;
    state.set_goal(GoalOf(instance.goal));
    if (state.goal() == proto::DesiredState::RELEASE_IF_IDLE && GoesToDisk(instance.host)) {
      state.set_to_disk(true);
      if (hosts_.GroupOf(instance.host).has_value()) state.set_disk_step(StepOf(instance.goal));
    }
    if (instance.goal == Goal::kReleaseIfIdle) state.set_thaws_known(instance.thaws_known);
    state.set_move(instance.goal == Goal::kMove);
    state.set_stay_held(instance.goal == Goal::kStay);
    state.set_suspend_requests(instance.suspend_requests);
    state.set_wake_requests(instance.wake_requests);
    state.set_group_pauses(instance.group_pauses);
    state.set_group_pause_forced(instance.group_pause_forced);
    state.set_group_pause_at_once(instance.group_pause_at_once);
    *state.mutable_wake_cause() = orchestrator::ToProto(instance.goal_cause);
    control_.SetDesired(instance.address, std::move(state), now());
  }
  if (instance.goal == Goal::kRelease && instance.provided) {
    // The second way, should the first be blocked.
    const Duration grace =
        hosts_[instance.host].guest ? Duration(0) : spec_.hosts[instance.host].stop_grace_period;
    provider_->Release(instance.id, grace, /*force=*/false);
  }
  Touch();
}

absl::Status Controller::Wake(HostId host, const Cause& cause) {
  Touch();
  return activator_.Wake(host, cause, now());
}

void Controller::OnPublishedClient(HostId host, absl::string_view text) {
  // The packets would wake it just as well, but only we can say why.
  if (hosts_[host].state == HostState::kRunning) return;
  // If it is refused, so will be the packets.
  (void)Wake(host, MakeCause(Cause::Kind::kPublishedPort, text));
}

absl::Status Controller::Suspend(HostId host) {
  const auto it = instances_.find(host);
  const HostState state = hosts_[host].state;
  if (it == instances_.end() || (state != HostState::kRunning && state != HostState::kPaused)) {
    return absl::FailedPreconditionError(
        absl::StrCat(hosts_[host].name, " is ", HostStateName(state), ", not running"));
  }
  if (hosts_.GroupOf(host).has_value()) {
    Touch();
    return groups_.Suspend(host, now());
  }
  ++it->second->suspend_requests;
  it->second->suspend_asked = state == HostState::kRunning;
  SendDesired(*it->second);
  return absl::OkStatus();
}

absl::Status Controller::Release(HostId host, absl::string_view reason) {
  dirty_ = true;  // it may have waited to be started
  Touch();
  return activator_.Release(host, reason, now());
}

bool Controller::AskForStatus(HostId host) {
  const auto it = instances_.find(host);
  if (it == instances_.end() || hosts_[host].state != HostState::kRunning) return false;
  Instance& instance = *it->second;
  if (instance.goal != Goal::kRun || !instance.reachable) return false;
  SendDesired(instance);
  return true;
}

void Controller::Shutdown(absl::string_view reason, bool force, std::function<void()> done) {
  shutting_down_ = true;
  on_all_ended_ = std::move(done);
  activator_.Shutdown(reason, force, now());
  Touch();
}

// ---- what instances say and do ----------------------------------------------

void Controller::OnStatus(const IpAddress& address, const proto::InstanceStatus& status,
                          bool goal_known) {
  const std::optional<HostId> host = hosts_.FindByAddress(address);
  const auto it = host.has_value() ? instances_.find(*host) : instances_.end();
  if (it == instances_.end()) return;
  Instance& instance = *it->second;
  instance.status = status;
  instance.status_at = now();
  if (!hosts_[*host].guest) memory_.OnUse(*host, status.memory_bytes());
  if (!instance.provided && instance.handle.agent_pid != status.agent_pid()) {
    instance.handle = provider_->HandleOf(status.agent_pid());
    dirty_ = true;
  }
  // Introduced when it is up: until then all that goes to it is looked at here.
  const std::optional<Endpoint> endpoint = tunnel_.EndpointOf(instance.key);
  if (endpoint && status.not_ready().empty()) {
    introductions_.SetEndpoint(address, *endpoint, now());
  }
  const bool was_reachable = std::exchange(instance.reachable, true);
  Activator::Report report = ReportOf(status);
  report.goal_acknowledged = goal_known && !instance.goal_deferred;
  report.suspended = report.state == Activator::Report::State::kPaused &&
                     std::exchange(instance.suspend_asked, false);
  if (!was_reachable) {
    dirty_ = true;
    if (endpoint) NoteEndpoint(instance, *endpoint);
    if (instance.goal_deferred) SendDesired(instance);
  }
  Touch();
  activator_.OnInstanceStatus(*host, instance.id.incarnation, report, now());
  if (report.not_ready.empty()) ReportToGroup(*host, status.group());
  if (goal_known && observer_ != nullptr) observer_->OnAnswer(*host);
}

void Controller::OnEnded(const InstanceId& id, const proto::ExitReport& report) {
  if (strays_.erase(id) > 0) return Touch();
  const std::optional<HostId> host = hosts_.FindByName(id.host);
  if (!host.has_value() || Find(*host, id.incarnation) == nullptr) return;
  Ended(*host, EndOf(*host, report));
}

void Controller::Ended(HostId host, const Activator::End& end) {
  const auto it = instances_.find(host);
  IM_CHECK(it != instances_.end());
  const std::unique_ptr<Instance> instance = std::move(it->second);
  instances_.erase(it);
  tunnel_.RemovePeer(instance->key);
  control_.Remove(instance->address);
  introductions_.Leave(instance->address, now());
  if (end.kind != Activator::End::Kind::kCheckpointed && !end.checkpoint_kept)
    TellFellows(*instance);
  dirty_ = true;
  Touch();
  activator_.OnInstanceEnded(host, instance->id.incarnation, end, now());
}

// ---- states and packets -----------------------------------------------------

void Controller::OnTransition(const Transition& transition) {
  const HostTable::Host& host = hosts_[transition.host];
  if (transition.to == HostState::kRunning || transition.to == HostState::kPaused) {
    Instance* const instance = Find(transition.host, transition.incarnation);
    IM_CHECK(instance != nullptr);
    gateway_.AddRoute(host.address, instance->key);
    if (transition.from == HostState::kReleasing) {
      introductions_.Resume(host.address);
      // Its agent has refused to go, and is not to be asked again by what else
      // it is told.
      if (std::exchange(instance->goal, Goal::kRun) != Goal::kRun) SendDesired(*instance);
    }
  } else {
    gateway_.RemoveRoute(host.address);
  }
  if (!host.guest) {
    const Instance* instance = FindInstance(transition.host);
    const bool taken_back = transition.from == HostState::kStarting && instance != nullptr &&
                            instance->adopted;
    meter_.OnTransition(transition, /*wakes=*/!taken_back);
  }
  RemoveCheckpoint(transition);
  groups_.OnTransition(transition.host, now());
  events_.Append(TransitionEvent(transition, hosts_, loop_.clock().UnixNanos()));
  if (observer_ != nullptr) observer_->OnTransition(transition);
  if (host.guest && transition.to == HostState::kImaginary) {
    loop_.Post([self = self_, id = transition.host, incarnation = transition.incarnation] {
      if (*self == nullptr) return;
      Controller& that = **self;
      if (!that.hosts_.Contains(id) || that.hosts_[id].incarnation != incarnation) return;
      that.guests_.Remove(id);
      that.activator_.RemoveGuest(id);
      that.dirty_ = true;
      that.Touch();
    });
  }
  dirty_ = true;
  Touch();
}

void Controller::OnWait(HostId host, absl::string_view reason) {
  proto::Event note;
  note.set_unix_nanos(loop_.clock().UnixNanos());
  note.set_host(hosts_[host].name);
  note.set_text(absl::StrCat("waits: ", reason));
  events_.Append(std::move(note));
}

void Controller::Deliver(HostId host, PacketBatch packets) {
  gateway_.Deliver(hosts_[host].address, std::move(packets));
  Touch();
}

void Controller::Refuse(HostId host, PacketBatch packets, absl::string_view reason,
                        bool wake_over) {
  gateway_.Refuse(packets);
  if (wake_over && observer_ != nullptr) observer_->OnWakeOver(host, reason);
}

void Controller::OnControlPacket(const Packet& packet, const IpView& view) {
  control_.OnPacket(packet, view, now());
  Touch();
}

void Controller::OnForwarded(const IpAddress& from, const IpAddress& to) {
  activator_.OnSent(from, to);
  introductions_.Introduce(from, to, now());
  Touch();
}

bool Controller::OnPacketToSleeper(const Packet& packet, const IpView& view) {
  const std::optional<HostId> host = hosts_.FindByAddress(view.destination);
  if (!host.has_value()) return false;
  Touch();
  activator_.OnSent(view.source, view.destination);
  if (AnsweredFor(*host, packet, view)) return true;
  const Activator::Verdict verdict = activator_.OnPacket(*host, packet, view, now());
  if (verdict == Activator::Verdict::kForward) {
    PacketBatch batch;
    batch.AppendCopy(packet);
    gateway_.Deliver(hosts_[*host].address, std::move(batch));
  }
  return true;
}

std::optional<tunnel::PublicKey> Controller::PeerOf(const IpAddress& host) const {
  const std::optional<HostId> id = hosts_.FindByAddress(host);
  const Instance* instance = id.has_value() ? FindInstance(*id) : nullptr;
  return instance == nullptr ? std::nullopt : std::optional(instance->key);
}

// ---- the end of a turn ------------------------------------------------------

void Controller::Touch() {
  if (std::exchange(touched_, true)) return;
  loop_.AtEndOfTurn([self = self_] {
    if (*self != nullptr) (*self)->EndOfTurn();
  });
}

void Controller::EndOfTurn() {
  touched_ = false;
  RunGroupActions();
  SendControl();
  if (on_all_ended_ && instances_.empty() && strays_.empty() && activator_.all_ended()) {
    loop_.Post(std::exchange(on_all_ended_, nullptr));
  }
  Instant deadline = std::min({activator_.NextDeadline(), control_.NextDeadline(),
                               groups_.NextDeadline()});
  if (dirty_) {
    if (save_not_before_ <= now()) {
      // In a turn of its own: packets of this one go first.
      loop_.Post([self = self_] {
        if (*self != nullptr && (*self)->dirty_) (*self)->Save();
      });
    } else {
      deadline = std::min(deadline, save_not_before_);
    }
  }
  timer_ = loop_.At(deadline, [this] {
    activator_.OnTimer(now());
    introductions_.OnTimer(now());
    groups_.OnTimer(now());
    Touch();
  });
}

void Controller::SendControl() {
  PacketBatch messages;
  control_.Flush(now(), messages);
  for (const Packet& packet : messages) {
    const std::optional<IpRoute> ip = ParseIpRoute(packet.bytes());
    const std::optional<HostId> host =
        ip.has_value() ? hosts_.FindByAddress(ip->destination) : std::nullopt;
    const Instance* instance = host.has_value() ? FindInstance(*host) : nullptr;
    IM_CHECK(instance != nullptr);  // the channel is there exactly as long as the instance
    tunnel_.SendTo(instance->key, SinglePacket(packet.bytes()));
  }
}

}  // namespace im::orchestrator
