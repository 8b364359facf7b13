// The cluster, its imd, and time. made_spec.cc: what hosts there are; callers.cc: who uses
// it, and what goes wrong; checks.cc: what must hold.

#include "tests/simulation/cluster_simulation.h"

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "orchestrator/host_setup.h"

namespace im::simulation {

using orchestrator::Controller;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr uint64_t kDiskSeed = 0x6469736b;

}  // namespace

class ClusterSimulation::StackSink final : public PacketSink {
 public:
  explicit StackSink(ClusterSimulation& simulation) : simulation_(simulation) {}
  void Write(PacketBatch batch) override {
    for (const Packet& packet : batch)
      simulation_.ToStack({packet.data, packet.data + packet.size});
  }

 private:
  ClusterSimulation& simulation_;
};

void ClusterSimulation::Reached::Add(const Reached& other) {
  answered += other.answered;
  refused += other.refused;
  imd_deaths += other.imd_deaths;
  agent_deaths += other.agent_deaths;
  releases_cancelled += other.releases_cancelled;
  group_sleeps += other.group_sleeps;
  missed_beats += other.missed_beats;
  restless_groups += other.restless_groups;
  starts += other.starts;
  thaws += other.thaws;
  lost += other.lost;
  checkpoints += other.checkpoints;
  restores += other.restores;
  said += other.said;
  keepalives += other.keepalives;
  moves += other.moves;
  needs += other.needs;
  jobs += other.jobs;
  group_disk += other.group_disk;
  renewals += other.renewals;
  overdue += other.overdue;
  started_again += other.started_again;
  answered6 += other.answered6;
  refused6 += other.refused6;
  said6 += other.said6;
  keepalives6 += other.keepalives6;
  within6 += other.within6;
  datagrams6 += other.datagrams6;
  unreachable6 += other.unreachable6;
}

ClusterSimulation::ClusterSimulation(uint64_t seed, const std::string& directory, bool trace,
                                     bool disk)
    : seed_(seed),
      world_(seed),
      families_(seed + kFamiliesSeed),
      directory_(directory),
      trace_(trace),
      loop_(*EventLoop::Create(world_.clock())) {
  const uint64_t kind = world_.random().Below(4);
  calm_ = kind == 0;
  deaths_ = kind >= 2;
  if (kind == 1 || kind == 3) {
    world_.faults.loss = world_.random().Below(30);
    world_.faults.duplicate = world_.random().Below(30);
    world_.faults.late = world_.random().Below(30);
    world_.faults.reorder = true;
    doubles_ = true;
  }
  if (deaths_) {
    start_failures_ = world_.Chance(50) ? 0 : world_.random().Below(40);
    hangs_ = world_.Chance(50) ? 0 : world_.random().Below(20);
    slow_disk_ = world_.Chance(50) ? 0 : 50;
  }
  spec_.checkpoints_directory = directory_ + "/checkpoints";
  // Beside the others, so that a seed without these is what it was.
  disk_ = disk && SeededRandom(seed + kDiskSeed).Below(3) > 0;
  if (disk_) {
    std::filesystem::remove_all(spec_.checkpoints_directory);
    std::filesystem::create_directory(spec_.checkpoints_directory);
    disk_failures_ = deaths_ ? world_.random().Below(40) : 10;
  }
  world_.random().Fill(gateway_key_.bytes);
  MakeSpec();
  if (disk) MakeNeeds();
  if (disk) MakeJob();
  if (disk) MakeFamilies();
  split_since_ = cut_until_ = world_.Now();
  StartImd();
}

ClusterSimulation::~ClusterSimulation() {
  controller_.reset();
  provider_.reset();
}

// ---- imd --------------------------------------------------------------------

void ClusterSimulation::StartImd() {
  IM_CHECK(controller_ == nullptr);
  Trace("imd starts");
  ++imd_;
  imd_began_at_ = world_.Now();
  table_ = std::make_unique<orchestrator::HostTable>();
  IM_CHECK(AddHosts(spec_, world_.Now(), *table_).ok());
  tunnel_ = std::make_unique<SimTunnel>(world_, *this);
  Controller::Options options;
  options.state_dir = directory_;
  options.gateway_key = gateway_key_;
  if (disk_) {
    options.criu = "criu";
    options.checkpoints_directory = spec_.checkpoints_directory;
  }
  options.gateway_endpoint = EndpointOfNode(kImd);
  options.life = imd_;
  options.first_incarnation = orchestrator::FirstIncarnation(saved_, options.life);
  options.limits = limits_;
  options.available_memory = [this]() -> std::optional<uint64_t> {
    return memory_full_ ? 0 : uint64_t{1} << 40;
  };
  loop_->RunOnce(Duration(0));
  controller_ = std::make_unique<Controller>(options, spec_, *table_, *loop_, world_.random(),
                                             *tunnel_);
  provider_ = std::make_unique<SimProvider>(imd_, world_, processes_, deaths_, *this);
  stack_ = std::make_unique<StackSink>(*this);
  controller_->SetProvider(provider_.get());
  controller_->SetObserver(this);
  controller_->gateway().SetStack(stack_.get());
  controller_->SetSave([this](const proto::SavedState& state) {
    if (!disk_full_) saved_ = state;
    // A seed replays: nothing may hang on the order of a hash table.
    std::sort(saved_.mutable_instances()->begin(), saved_.mutable_instances()->end(),
              [](const auto& a, const auto& b) { return a.host() < b.host(); });
    if (world_.Chance(slow_disk_)) world_.AdvanceTo(world_.Now() + world_.UpTo(milliseconds(20)));
  });
  Turn([this] {
    taking_back_ = true;
    controller_->Restore(saved_);
    taking_back_ = false;
    CheckStartedAgain();
    controller_->Save();
    controller_->Begin();
  });
}

void ClusterSimulation::KillImd() {
  Trace("imd dies");
  ++reached_.imd_deaths;
  controller_.reset();
  provider_.reset();
  stack_.reset();
  tunnel_.reset();
  table_.reset();
  held_.clear();
  waiters_.clear();
  told_.clear();
  for (auto& [number, call] : calls_) call.must_be_answered = false;
  world_.After(world_.UpTo(milliseconds(world_.Chance(70) ? 50 : 4'000)), [this] {
    if (controller_ == nullptr) StartImd();
  });
}

// Whatever happens to imd happens in a turn of its loop.
void ClusterSimulation::Turn(const std::function<void()>& what) {
  if (in_turn_) return what();  // from within one
  in_turn_ = true;
  loop_->RunOnce(Duration(0));
  if (controller_ != nullptr) what();
  // What was posted, such as the saving, comes in later turns.
  constexpr int kTurns = 3;
  for (int i = 0; i < kTurns; ++i) {
    if (dies_in_turn_ && controller_ != nullptr && world_.Chance(40)) {
      dies_in_turn_ = false;
      KillImd();
    }
    loop_->RunOnce(Duration(0));
  }
  in_turn_ = false;
}

void ClusterSimulation::InImd(uint64_t imd, std::function<void(Controller&)> what) {
  if (controller_ == nullptr || imd != imd_) return;
  Turn([this, &what] { what(*controller_); });
}

void ClusterSimulation::OnTransition(const orchestrator::Transition& t) {
  Trace("  h", t.host, "#", t.incarnation, " ", HostStateName(t.from), " -> ",
        HostStateName(t.to), ": ", t.reason);
  CheckNeeds(t);
  if (t.to == HostState::kRunning) waiters_.erase(t.host);
  if (t.to == HostState::kStarting) ++reached_.starts;
  if (t.to == HostState::kRestoring) ++reached_.restores;
  if (t.to == HostState::kReleasing && t.from == HostState::kRunning && GoesToDisk(t.host) &&
      t.reason.starts_with("max_lifetime"))
    ++reached_.moves;
  if (t.to == HostState::kReleasing && IsRenewed(t.host) && t.reason.starts_with("max_lifetime"))
    ++reached_.renewals;
  if (t.to == HostState::kImaginary && t.reason.starts_with("it did not complete within"))
    ++reached_.overdue;
  if (t.from == HostState::kPaused && t.to == HostState::kRunning) ++reached_.thaws;
  if (t.from == HostState::kReleasing && t.to == HostState::kRunning) ++reached_.releases_cancelled;
  // The moments in which wakes and releases meet.
  if (!steps_over_ && t.to == HostState::kReleasing && world_.Chance(30))
    world_.After(world_.UpTo(milliseconds(world_.Chance(50) ? 2 : 50)),
                 [this, host = t.host] { SendCall(host, kImd); });
}

void ClusterSimulation::OnWakeOver(HostId host, absl::string_view reason) {
  if (reason.empty()) Fail("a refusal without a reason");
  Trace("  h", host, ": wake over: ", std::string(reason));
  waiters_.erase(host);
}

// ---- the tunnels ------------------------------------------------------------

void ClusterSimulation::HandshakeToGateway(SimAgent& from) {
  world_.Carry(from.node(), kImd, [this, node = from.node(), key = from.key()] {
    if (controller_ == nullptr) return;
    Turn([this, node, &key] {
      if (!tunnel_->OnHandshake(key, node)) return;
      world_.Carry(kImd, node, [this, node, imd = imd_] {
        if (SimAgent* agent = FindAgent(node)) agent->OnGatewayAnswers(imd);
      });
    });
  });
}

void ClusterSimulation::HandshakeToAgent(Node node, const tunnel::PublicKey& key) {
  world_.Carry(kImd, node, [this, node, key, imd = imd_] {
    SimAgent* const agent = FindAgent(node);
    if (agent == nullptr || agent->key() != key) return;
    agent->OnHandshakeOfGateway(imd);
    world_.Carry(node, kImd, [this, node, key, imd] {
      InImd(imd, [this, node, &key](Controller&) { (void)tunnel_->OnHandshake(key, node); });
    });
  });
}

void ClusterSimulation::ToGateway(SimAgent& from, uint64_t imd, const std::vector<uint8_t>& bytes) {
  world_.Carry(from.node(), kImd, [this, key = from.key(), imd, bytes] {
    InImd(imd, [&](Controller& controller) {
      if (!tunnel_->HasSession(key)) return;
      if (const std::optional<IpRoute> ip = ParseIpRoute(bytes); !tunnel_->Allows(key, ip->source))
        return Fail(absl::StrCat("what ", ip->source.ToString(), " sends does not come through"));
      BeforeGateway(bytes);
      controller.gateway().Write(SinglePacket(bytes));
      AfterGateway();
    });
  });
}

void ClusterSimulation::PacketToAgent(Node node, const std::vector<uint8_t>& bytes) {
  world_.Carry(kImd, node, [this, node, imd = imd_, bytes] {
    if (SimAgent* agent = FindAgent(node)) agent->OnPacket(imd, bytes);
  });
}

// ---- processes --------------------------------------------------------------

SimAgent* ClusterSimulation::FindAgent(Node node) {
  const auto it = agents_.find(node);
  return it == agents_.end() ? nullptr : it->second.get();
}

SimAgent* ClusterSimulation::FindAgent(const tunnel::PublicKey& key) {
  for (const auto& [node, agent] : agents_)
    if (agent->key() == key) return agent.get();
  return nullptr;
}

SimAgent* ClusterSimulation::AgentOf(HostId host) {
  SimAgent* newest = nullptr;
  for (const auto& [node, agent] : agents_)
    if (agent->host() == host) newest = agent.get();
  return newest;
}

Node ClusterSimulation::AddAgent(const proto::StartRequest& request) {
  const HostId host = *table_->FindByName(request.host());
  for (const auto& [node, agent] : agents_)
    if (agent->host() == host) Fail(absl::StrCat("a second instance beside ", agent->Text()));
  SimAgent::Behaviour behaviour;
  behaviour.boot = world_.Delay();
  behaviour.stop = world_.Delay();
  behaviour.start_fails = world_.Chance(start_failures_);
  if (world_.Chance(hangs_)) {
    behaviour.hangs = true;
    if (world_.Chance(50)) behaviour.stop = Duration(0);
  }
  if (deaths_ && world_.Chance(5)) behaviour.boot = world_.UpTo(seconds(8));
  if (request.has_healthcheck()) {
    SeededRandom random(seed_ + kNeedsSeed + request.incarnation());
    behaviour.tested = milliseconds(1 + random.Below(deaths_ ? 1'500 : 100));
  }
  behaviour.busy_percent = 10;
  behaviour.timer_percent = 10;
  if (job_ == host) {
    SeededRandom random(seed_ + kJobSeed + request.incarnation());
    behaviour.busy_percent = 100;
    behaviour.works = milliseconds(1 + random.Below(deaths_ ? 1'500 : 500));
    behaviour.work_fails = deaths_ && random.Below(3) == 0;
  }
  if (request.has_group()) {
    behaviour.beats = true;
    const size_t members = spec_.groups[0].hosts.size();
    for (HostId other = 0; other < members; ++other) {
      const bool next =
          other == host + 1 || (shape_ == Shape::kCircle && other == (host + 1) % members);
      if (other == host || shape_ == Shape::kSilent) continue;
      if (shape_ == Shape::kStar ? host == 0 : next)
        behaviour.leads.push_back(spec_.hosts[other].address);
    }
  }
  const Node node = ++last_node_;
  agents_[node] = std::make_unique<SimAgent>(*this, node, host, request, behaviour);
  Trace("agent ", node, " of h", host, " begins");
  return node;
}

void ClusterSimulation::OnExit(SimAgent& agent, const proto::ExitReport& report) {
  Trace("agent ", agent.node(), " exits: ", agent, " ", report.message());
  const InstanceKey key{agent.id().host, agent.id().incarnation};
  const auto it = agents_.find(agent.node());
  buried_.push_back(std::move(it->second));
  agents_.erase(it);
  job_done_ |= job_ == agent.host() && report.reason() == proto::ExitReport::EXITED &&
               report.exit_code() == 0 && report.signal() == 0;
  for (auto& [number, held] : held_) held.source_gone |= held.source == agent.address();
  processes_.running.erase(key);
  processes_.exits[key] = report;
  if (provider_ != nullptr) provider_->OnExit(key, report);
}

void ClusterSimulation::KillAgent(Node node) {
  SimAgent* const agent = FindAgent(node);
  if (agent == nullptr) return;
  ++reached_.agent_deaths;
  proto::ExitReport report;
  report.set_reason(proto::ExitReport::EXITED);
  report.set_signal(9);
  report.set_message("im-agent was killed by signal 9");
  OnExit(*agent, report);
}

bool ClusterSimulation::Lives(const IpAddress& address) const {
  return std::any_of(agents_.begin(), agents_.end(),
                     [&](const auto& agent) { return agent.second->address() == address; });
}

void ClusterSimulation::StopAgent(Node node) {
  if (SimAgent* agent = FindAgent(node)) agent->Stop();
}

// ---- time -------------------------------------------------------------------

void ClusterSimulation::PrintTrace(const std::string& what) const {
  std::cerr << (world_.Now().time_since_epoch().count() / 1'000 % 1'000'000'000'000) << " " << what
            << "\n";
}

void ClusterSimulation::Fail(const std::string& what) {
  Trace("FAILED: ", what);
  if (failed()) return;
  const auto at = std::chrono::duration<double>(world_.Now() - Instant(seconds(1'000)));
  failure_ = absl::StrCat(what, " (at ", at.count(), " s)");
}

// The next that is due until `end`; false: there is none.
bool ClusterSimulation::RunNext(Instant end) {
  Instant next = std::min(world_.NextEvent(), loop_->NextDeadline());
  if (tunnel_ != nullptr) next = std::min(next, tunnel_->NextDeadline());
  for (const auto& [node, agent] : agents_) next = std::min(next, agent->NextDeadline());
  if (next > end) return false;
  world_.AdvanceTo(next);
  const Instant now = world_.Now();
  if (world_.NextEvent() <= now) {
    world_.RunOne();
  } else if (loop_->NextDeadline() <= now || (tunnel_ && tunnel_->NextDeadline() <= now)) {
    Turn([this] { tunnel_->OnTimer(); });
  } else {
    for (const auto& [node, agent] : agents_) {
      if (agent->NextDeadline() > now) continue;
      agent->OnTimer();
      break;  // it may be gone, and others with it
    }
  }
  buried_.clear();
  Check();
  return true;
}

void ClusterSimulation::Pass(Duration by) {
  const Instant end = world_.Now() + by;
  while (!failed() && RunNext(end)) continue;
  world_.AdvanceTo(end);
}

void ClusterSimulation::RunAll() {
  const int steps = 10 + static_cast<int>(world_.random().Below(30));
  for (int i = 0; i < steps && !failed(); ++i) Step();
  ToRest();
  reached_.lost = world_.lost();
}

void ClusterSimulation::ToRest() {
  if (failed()) return;
  Trace("all is well again");
  steps_over_ = true;
  world_.faults = {};
  world_.Heal();
  start_failures_ = hangs_ = slow_disk_ = disk_failures_ = 0;
  disk_full_ = memory_full_ = dies_in_turn_ = deaths_ = false;
  if (controller_ == nullptr) StartImd();
  Pass(seconds(90));
  // A host may just be on its way down, and an agent's word of a pause on its way to imd.
  const auto moves = [this] {
    for (HostId host = 0; host < spec_.hosts.size(); ++host) {
      const HostState state = (*table_)[host].state;
      if (state == HostState::kReleasing || state == HostState::kStarting ||
          state == HostState::kRestoring)
        return true;
      const SimAgent* const agent = AgentOf(host);
      if (agent != nullptr && agent->paused() != (state == HostState::kPaused)) return true;
    }
    return false;
  };
  for (int i = 0; i < 100 && moves(); ++i) Pass(milliseconds(100));
  CheckRest();
  if (failed()) return;
  Trace("everybody is called");
  for (HostId host = 0; host < spec_.hosts.size(); ++host) {
    SendCall(host, kImd, /*must_be_answered=*/job_ != host);
    Pass(seconds(10));  // one after the other: start slots may be few
  }
  // In a calm world they have lasted.
  for (const uint32_t number : LastingConversations()) {
    if (conversations_.contains(number)) Say(number);
    Pass(seconds(15));
  }
  if (failed()) return;
  conversations_.clear();
  bool down = false;
  Turn([&] { controller_->Shutdown("im down", world_.Chance(50), [&down] { down = true; }); });
  Pass(seconds(60));
  if (!failed() && !down) Fail("the shutdown does not end");
  Pass(std::chrono::hours(1));  // failures are forgotten
  CheckNothingLeft();
}

}  // namespace im::simulation
