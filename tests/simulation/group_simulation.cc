#include "tests/simulation/group_simulation.h"

#include <algorithm>
#include <iostream>
#include <utility>

#include "orchestrator/test_packets.h"

namespace im::orchestrator {
namespace {

using simulation::kImd;

simulation::Node NodeOf(HostId host) { return host + 1; }

}  // namespace

// ---- members ----------------------------------------------------------------

void GroupMember::OnUse() {
  const uint64_t use = ++uses;
  After(kQuietAfter, [this, use] {
    if (uses == use && !paused && !stopping) OnQuiet();
  });
}

void GroupMember::OnDesired(const Desired& newest) {
  if (!up || newest.version <= heard.version) return;
  const Desired before = std::exchange(heard, newest);
  const bool asked = IsAsked(before);
  refused = false;
  Report();
  if (stopping) return;
  if (heard.wakes > before.wakes) {
    Wake();
  } else if (asked) {
    OnAsked();
  }
  OnGoal();
}

void GroupMember::Stop() {
  stopping = true;
  After(sim.world().Delay(), [this] { sim.End(host, incarnation, Activator::End::Kind::kReleased); });
}

void GroupMember::Report() {
  if (up) After(sim.world().Delay(), [this] { sim.Tell(*this); });
}

void GroupMember::After(Duration delay, std::function<void()> what) {
  sim.world().After(delay, [&s = sim, h = host, i = incarnation, what = std::move(what)] {
    if (s.Find(h, i) != nullptr) what();
  });
}

// ---- the orchestrator -------------------------------------------------------

void GroupSimulation::NewOrchestrator(const HostPolicy& policy) {
  Activator::Limits limits;
  limits.backoff.first = std::chrono::milliseconds(10);
  limits.backoff.max = std::chrono::milliseconds(100);
  const uint64_t first = activator_ == nullptr ? 1 : activator_->next_incarnation();
  activator_.reset();
  suspender_.reset();
  table_ = std::make_unique<HostTable>();
  members_.resize(size_);
  std::vector<HostId> ids;
  for (HostId i = 0; i < size_; ++i)
    ids.push_back(*table_->Add(
        {.name = absl::StrCat("m", i), .address = TestAddress(i), .policy = policy}, Now()));
  table_->AddGroup("g", ids);
  activator_ = std::make_unique<Activator>(*table_, limits, first, *this);
  suspender_.emplace(*table_);
}

void GroupSimulation::StartInstance(HostId host, uint64_t incarnation, const Cause&) {
  if (members_[host] != nullptr) Fail("two instances of a host");
  members_[host] = MakeMember(host, incarnation);
  Begin(*members_[host]);
}

void GroupSimulation::SetGoal(HostId host, uint64_t incarnation, Activator::Goal goal,
                              const Cause&) {
  GroupMember* const member = Find(host, incarnation);
  if (member == nullptr) return;
  member->desired.goal = goal;
  if (goal == Activator::Goal::kRun) ++member->desired.wakes;
  if (goal != Activator::Goal::kKill) return SendDesired(*member);
  world_.After(world_.Delay(),
               [=, this] { End(host, incarnation, Activator::End::Kind::kFailed); });
}

void GroupSimulation::Deliver(HostId host, PacketBatch packets) {
  for (const Packet& packet : packets) Arrive(host, NumberOf(packet));
}

void GroupSimulation::Refuse(HostId, PacketBatch packets, absl::string_view reason, bool) {
  for (const Packet& packet : packets)
    Lose(NumberOf(packet), absl::StrCat("was refused: ", std::string(reason)));
}

void GroupSimulation::OnTransition(const Transition& transition) {
  Trace("  m", transition.host, " ", HostStateName(transition.from), " -> ",
        HostStateName(transition.to), ": ", transition.reason);
  // As a Controller does it: who has refused to go is not asked again by what else it is told.
  GroupMember* const member = Find(transition.host, transition.incarnation);
  const bool stays = transition.from == HostState::kReleasing && HasInstance(transition.to);
  if (stays && member != nullptr &&
      std::exchange(member->desired.goal, Activator::Goal::kRun) != Activator::Goal::kRun)
    SendDesired(*member);
  suspender_->OnTransition(transition.host, Now());
}

void GroupSimulation::SendDesired(GroupMember& member) {
  ++member.desired.version;
  const auto arrive = [this, h = member.host, i = member.incarnation] {
    GroupMember* const found = Find(h, i);
    if (found == nullptr) return;
    // Who is not up yet is told again.
    found->up ? found->OnDesired(found->desired) : SendDesired(*found);
  };
  // It does not overtake packets that were sent before it.
  world_.After(world_.Delay(),
               [this, h = member.host, arrive] { world_.Carry(kImd, NodeOf(h), arrive); });
}

void GroupSimulation::Tell(const GroupMember& member) {
  using State = Activator::Report::State;
  Activator::Report report{.state = member.stopping  ? State::kReleasing
                                    : member.refused ? State::kReleaseRefused
                                    : member.paused  ? State::kPaused
                                                     : State::kRunning,
                           .goal_acknowledged = member.heard.version == member.desired.version,
                           .cause = MakeCause(Cause::Kind::kPing),
                           .thaws = member.thaws};
  GroupSuspender::Report group;
  member.Describe(report, group);
  const HostId host = member.host;
  activator_->OnInstanceStatus(host, member.incarnation, report, Now());
  suspender_->OnReport(host, std::move(group), Now());
}

void GroupSimulation::End(HostId host, uint64_t incarnation, Activator::End::Kind kind) {
  GroupMember* const member = Find(host, incarnation);
  if (member == nullptr) return;
  const bool on_disk = kind == Activator::End::Kind::kCheckpointed && !faulty_;
  if (!on_disk)
    for (const uint32_t number : member->kept) Lose(number, "was lost with its host");
  members_[host].reset();
  ended_[host] = incarnation;
  world_.After(world_.Delay(), [=, this] {
    ended_.erase(host);
    activator_->OnInstanceEnded(host, incarnation, EndOf(host, kind), Now());
  });
}

void GroupSimulation::RunActions() {
  for (const GroupSuspender::Action& action : suspender_->TakeActions()) {
    if (action.kind == GroupSuspender::Action::Kind::kWake) {
      (void)activator_->Wake(action.host, MakeCause(Cause::Kind::kGroup), Now());
    } else if (GroupMember* const member = At(action.host)) {
      member->desired.pauses = action.round;
      member->desired.forced = action.forced;
      member->desired.at_once = action.at_once;
      SendDesired(*member);
    }
  }
}

GroupMember* GroupSimulation::Find(HostId host, uint64_t incarnation) {
  GroupMember* const found = At(host);
  return found != nullptr && found->incarnation == incarnation ? found : nullptr;
}

// ---- callers, users and faults ----------------------------------------------

void GroupSimulation::Arrive(HostId host, uint32_t number) {
  world_.Carry(kImd, NodeOf(host), [=, this] {
    GroupMember* const member = At(host);
    if (member == nullptr || !member->up || member->stopping)
      return Lose(number, "came to nobody");
    member->kept.push_back(number);
    member->Wake();
  });
}

void GroupSimulation::Lose(uint32_t number, absl::string_view how) {
  if (!faulty_) Fail(absl::StrCat("packet ", number, " ", std::string(how)));
  waiting_.erase(number);
}

void GroupSimulation::UseOne() {
  const HostId host = static_cast<HostId>(world_.random().Below(size_));
  const uint32_t number = ++packet_number_;
  waiting_[number] = Now() + settings_.wake_bound;
  used_at_ = Now();
  Trace("packet ", number, " for m", host);
  for (HostId member = 0; member < size_; ++member) to_run_.insert(member);
  TestPacket packet(NumberedUdp(host, number));
  if (activator_->OnPacket(host, packet.packet(), packet.view(), Now()) ==
      Activator::Verdict::kForward)
    Arrive(host, number);
}

void GroupSimulation::Step() {
  const HostId host = static_cast<HostId>(world_.random().Below(size_));
  switch (world_.random().Below(10)) {
    case 0:
      (void)activator_->Wake(host, MakeCause(Cause::Kind::kUser), Now());
      break;
    case 1:
      if (faulty_) StepOfFault(host);
      break;
    case 2:
      if (faulty_) (void)activator_->Release(host, "im release", Now());
      break;
    case 3:
      if (faulty_ && At(host) != nullptr)
        End(host, At(host)->incarnation, Activator::End::Kind::kFailed);
      break;
    default:
      UseOne();
  }
  RunActions();
  Pass(world_.UpTo(world_.Chance(settings_.short_percent) ? settings_.short_max
                                                          : settings_.long_max));
}

void GroupSimulation::RunSteps(uint64_t count) {
  for (; count > 0 && !failed(); --count) Step();
}

void GroupSimulation::Pass(Duration by) {
  const Instant end = Now() + by;
  while (!failed()) {
    Instant next = std::min(
        {world_.NextEvent(), activator_->NextDeadline(), suspender_->NextDeadline()});
    for (const auto& member : members_)
      if (member != nullptr) next = std::min(next, member->NextDeadline());
    if (next > end) break;
    world_.AdvanceTo(next);
    if (world_.NextEvent() <= Now()) world_.RunOne();
    activator_->OnTimer(Now());
    suspender_->OnTimer(Now());
    for (const auto& member : members_)
      if (member != nullptr) member->OnTimer();
    RunActions();
    Check();
  }
  world_.AdvanceTo(end);
}

// ---- what must hold ---------------------------------------------------------

void GroupSimulation::Check() {
  size_t running = 0, paused = 0, on_disk = 0;
  for (HostId host = 0; host < size_; ++host) {
    on_disk += OnDisk(host);
    GroupMember* const member = At(host);
    if (member == nullptr || !member->up || member->stopping) continue;
    ++(member->paused ? paused : running);
    if (member->paused) continue;
    to_run_.erase(host);
    for (const uint32_t number : std::exchange(member->kept, {})) waiting_.erase(number);
  }
  const bool slept = std::exchange(all_paused_, paused == size_);
  sleeps_ += all_paused_ && !slept;
  const bool was_on_disk = std::exchange(all_on_disk_, on_disk == size_);
  times_on_disk_ += all_on_disk_ && !was_on_disk;
  const bool split = running > 0 && paused + on_disk > 0;
  if (!std::exchange(split_, split)) split_since_ = Now();
  if (split && Now() - split_since_ > settings_.split_bound)
    Fail("a frozen member beside one that runs");
  for (const auto& [number, bound] : waiting_)
    if (Now() > bound) Fail(absl::StrCat("packet ", number, " is not delivered"));
  if (!to_run_.empty() && Now() - used_at_ > settings_.wake_bound && !faulty_)
    Fail(absl::StrCat("m", *to_run_.begin(), " did not run though a fellow was used"));
}

void GroupSimulation::PrintTrace(const std::string& what) const {
  std::cerr << (Now().time_since_epoch().count() / 1'000 % 1'000'000'000'000) << " " << what << "\n";
}

void GroupSimulation::Fail(const std::string& what) {
  Trace("FAILED: ", what);
  if (failed()) return;
  constexpr Instant kStart{std::chrono::seconds(1'000)};
  failure_ = absl::StrCat(what, " at ", (Now() - kStart).count() / 1'000'000, " ms");
}

}  // namespace im::orchestrator
